//! Lists of numbers on the command line.

/// `0,3-5`: whole numbers and ranges that include both ends.
#[derive(Debug, Clone)]
pub(super) struct NumberList(pub(super) Vec<usize>);

impl NumberList {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number = text.trim().parse::<u32>();
            number.map_err(|_| format!("\"{text}\" is not a whole number; write 0,3-5"))
        };
        let mut all = Vec::new();
        for entry in text.split(',') {
            let (from, to) = match entry.split_once('-') {
                Some((from, to)) => (number(from)?, number(to)?),
                None => (number(entry)?, number(entry)?),
            };
            if from > to || to - from > 10_000_000 {
                return Err(format!("the range {entry} is empty or far too long"));
            }
            all.extend((from..=to).map(|n| n as usize));
        }
        Ok(Self(all))
    }
}
