//! Answers to research questions, composed of operations: no files, no GPU.
//!
//! | module | question |
//! |---|---|
//! | [`ranking`] | which neurons matter most, overall and for each class |
//! | [`single`] | what does each neuron alone know |
//! | [`gaussian`] | which neurons do Gaussians of the classes need, one after the other |
//! | [`forward`] | which does a probe need |
//! | [`greedy`] | what such selections share |
//! | [`agreement`] | how far do orderings agree |
//! | [`comparison`] | how do two studies differ |
//! | [`redundancy`] | which neurons say the same |
//! | [`correlation_map`] | how redundant are they all, at a glance and between layers |
//! | [`components`] | the same of more neurons than their matrix fits |
//! | [`search`] | which penalty does dev prefer |
//! | [`selection`] | by which rule it is preferred |
//! | [`folds`] | which samples a cross-validation holds out together |
//! | [`predictions`] | what does a probe answer |
//! | [`frozen`] | probes after every choice was made, to be judged on test |
//! | [`tuning`] | the best probe of one task, by dev or by cross-validation |
//! | [`layers`] | what do single layers, and the layers up to one, know |
//! | [`curves`] | how few suffice without retraining |
//! | [`minimal_set`] | how few neurons suffice |
//! | [`disjoint`] | how many sets suffice that share no neuron |
//! | [`stability`] | would another sample of train name the same neurons |
//! | [`random_sets`] | would random neurons do as well |
//! | [`combined`] | how few of the independent neurons of the lowest layers suffice |
//! | [`selectivity`] | would the probe have learned a task without meaning as well |
//! | [`description_length`] | in how few bits can labels be sent to somebody who has the activations |
//! | [`relabelled`] | would a probe of shuffled labels be as good |
//! | [`transfer`] | do one model's neurons carry the task in another |
//! | [`similarity`] | how alike are whole layers |
//! | [`chance`] | how well do the neurons of two models match by chance |
//! | [`concepts`] | which words does a neuron fire on |
//! | [`excerpts`] | in which sentences does it fire
//! | [`dissection`] | which concepts does a neuron's firing cover |
//! | [`sample_sets`] | sets of samples, a bit each |
//! | [`overlap`] | do two sets share more than by chance |
//! | [`focus`] | do few neurons hold a class, or many |
//! | [`histogram`] | how are a neuron's activations spread, by class |
//! | [`metrics`] | how good are predictions |
//! | [`uncertainty`] | how sure can one be |
//! | [`holm`] | how sure, of many comparisons at once |
//! | [`bootstrap`] | how sure, where no formula says it |

pub mod agreement;
pub mod bootstrap;
pub mod chance;
pub mod combined;
pub mod comparison;
pub mod components;
pub mod concepts;
pub mod correlation_map;
pub mod curves;
pub mod description_length;
pub mod disjoint;
pub mod dissection;
pub mod excerpts;
pub mod focus;
pub mod folds;
pub mod forward;
pub mod frozen;
pub mod gaussian;
pub mod greedy;
pub mod histogram;
pub mod holm;
pub mod layers;
pub mod metrics;
pub mod minimal_set;
pub mod overlap;
pub mod predictions;
pub mod random_sets;
pub mod ranking;
pub mod redundancy;
pub mod relabelled;
pub mod sample_sets;
pub mod search;
pub mod selection;
pub mod selectivity;
pub mod similarity;
pub mod single;
pub mod stability;
pub mod transfer;
pub mod tuning;
pub mod uncertainty;
