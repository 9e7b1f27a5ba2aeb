//! How sure the findings are, and what test was used for.

use super::tables::{Table, count, table, text};
use crate::study::results::StudyResults;

/// What was evaluated on test.
pub(super) fn test_use(results: &StudyResults) -> Table {
    let rows = results
        .test_use
        .evaluated
        .iter()
        .map(|used| {
            vec![
                text(&used.task),
                text(&used.what),
                count(used.probes),
                count(used.evaluations),
            ]
        })
        .collect();
    table(
        &["task", "what", "*probes", "*times test was predicted"],
        rows,
    )
}
