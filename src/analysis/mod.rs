//! Answers to research questions, composed of operations: no files, no GPU.
