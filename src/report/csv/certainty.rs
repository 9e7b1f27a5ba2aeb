//! How sure the findings are, and what test was used for.

use super::Sheet;
use crate::error::Result;
use crate::study::results::StudyResults;

pub(super) fn test_use(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("test_use.csv", "task what probes evaluations")?;
    for used in &results.test_use.evaluated {
        sheet.row((&used.task, &used.what, used.probes, used.evaluations))?;
    }
    Ok(sheet)
}
