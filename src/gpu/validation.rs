//! What a device computed beside what the native path makes of the same, where that was asked for.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::device::Gpu;

/// Results of one operation that were computed natively as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validated {
    /// The operation.
    pub operation: String,
    /// What was compared.
    pub of: String,
    /// Times that the operation ran.
    pub runs: usize,
    /// Values that were compared.
    pub values: u64,
    /// The deviation of the value that deviates most, measured by what is allowed of it.
    pub deviation: f64,
    /// How far that one may deviate, by the operation's tolerance.
    pub allowed: f64,
}

impl Validated {
    /// Whether every value is as near as it must be.
    pub fn is_right(&self) -> bool {
        self.deviation <= self.allowed
    }

    /// What of both deviates more, beside what is allowed.
    fn worse(self, other: Self) -> Self {
        let share = |one: &Self| match one.deviation {
            0.0 => 0.0,
            deviation => deviation / one.allowed,
        };
        // NaN is worse than anything.
        let (runs, values) = (self.runs + other.runs, self.values + other.values);
        let worse = match share(&self).total_cmp(&share(&other)) {
            std::cmp::Ordering::Less => other,
            _ => self,
        };
        Self {
            runs,
            values,
            ..worse
        }
    }
}

/// What was compared so far, one entry an operation.
pub(super) type Ledger = Arc<Mutex<Vec<Validated>>>;

impl Gpu {
    /// A handle to the same device whose operations are computed natively as well and compared.
    pub fn validating(&self) -> Self {
        let mut other = self.clone();
        other.ledger = Some(Ledger::default());
        other
    }

    /// Whether they are.
    pub fn is_validating(&self) -> bool {
        self.ledger.is_some()
    }

    /// Takes down a comparison.
    pub fn validate(&self, compared: Validated) {
        let Some(ledger) = &self.ledger else { return };
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&mut Validated| known.operation == compared.operation;
        match ledger.iter_mut().find(same) {
            Some(known) => *known = known.clone().worse(compared),
            None => ledger.push(compared),
        }
    }

    /// What was compared so far, one entry an operation, in the order in which they were first run.
    pub fn validated(&self) -> Vec<Validated> {
        let ledger = self.ledger.as_ref();
        let copy = |ledger: &Ledger| {
            ledger
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        ledger.map(copy).unwrap_or_default()
    }
}
