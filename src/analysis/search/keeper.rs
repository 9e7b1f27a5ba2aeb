//! Fits that outlive a run: what is known is not fitted again.

use super::{Prober, intercept_only};
use crate::error::Result;
use crate::ops::probe::{self, Design, Fit, Params, Problem};

/// Fits that are asked for together.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The neurons of the design.
    pub columns: &'a [usize],
    /// What is to be solved.
    pub problems: &'a [Problem<'a>],
    /// How.
    pub params: &'a Params,
}

/// Keeps fits from one run to the next.
pub trait Keeper: std::fmt::Debug + Sync {
    /// The fit of each problem of a batch, where it was finished before.
    ///
    /// # Errors
    /// When the run is to end here.
    fn recall(&self, batch: &Batch<'_>) -> Result<Vec<Option<Fit>>>;

    /// Keeps the fits of a batch that was finished now.
    ///
    /// # Errors
    /// When they cannot be kept.
    fn keep(&self, batch: &Batch<'_>, fits: &[Fit]) -> Result<()>;
}

impl Prober<'_> {
    /// Fits problems on one design, but those whose fits are known.
    pub(in crate::analysis) fn fit(
        &self,
        design: Option<&Design>,
        problems: &[Problem<'_>],
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Fit>> {
        let Some(design) = design else {
            let alone = |problem| intercept_only(problem, self.train.ncols());
            return Ok(problems.iter().map(alone).collect());
        };
        let mut known = match self.keeper {
            Some(keeper) => keeper.recall(&self.batch(design, problems))?,
            None => vec![None; problems.len()],
        };
        let missing: Vec<usize> = (0..known.len()).filter(|&p| known[p].is_none()).collect();
        let asked: Vec<Problem<'_>> = missing.iter().map(|&p| problems[p]).collect();
        progress(1.0 - missing.len() as f64 / problems.len().max(1) as f64);
        let told = self.backend.told().len();
        let fits = match &*asked {
            [] => Vec::new(),
            asked => probe::fit(self.backend, design, asked, &self.params, &mut |p| {
                let done = problems.len() - asked.len() + p.finished;
                progress(done as f64 / problems.len() as f64);
            })?,
        };
        // What a device's trouble made run elsewhere would come out otherwise without it.
        let sound = self.backend.told().len() == told && !fits.is_empty();
        if let Some(keeper) = self.keeper.filter(|_| sound) {
            keeper.keep(&self.batch(design, &asked), &fits)?;
        }
        for (place, fit) in missing.into_iter().zip(fits) {
            known[place] = Some(fit);
        }
        Ok(known.into_iter().flatten().collect())
    }

    fn batch<'b>(&'b self, design: &'b Design, problems: &'b [Problem<'b>]) -> Batch<'b> {
        Batch {
            columns: design.columns(),
            problems,
            params: &self.params,
        }
    }
}
