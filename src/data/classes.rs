//! Class ids and names as one file gives them, and their agreement over several files.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::labels::Labels;

/// Where the class names of a file come from; it decides how several files are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// The file lists its classes in id order (native metadata): the order stands.
    Declared,
    /// The file holds integers only: the names are those numbers. Beside a file that declares its classes the numbers
    /// are ids into that list.
    Numbered,
    /// The file holds the names themselves: they are sorted.
    Spelled,
}

/// The labels of one task in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelColumn {
    /// Index into `classes`, one a sample.
    pub ids: Vec<u32>,
    /// Class names.
    pub classes: Vec<String>,
    /// Where the names come from.
    pub naming: Naming,
    /// The file.
    pub path: PathBuf,
}

impl LabelColumn {
    /// As the value type that the rest of the crate takes.
    ///
    /// # Errors
    /// When there are no labels.
    pub fn into_labels(self) -> Result<Labels> {
        Labels::new(self.ids, self.classes)
    }

    /// From ids into a list of names that the file declares.
    pub(super) fn declared(
        path: &Path,
        place: &str,
        ids: &[i64],
        classes: Vec<String>,
    ) -> Result<Self> {
        let ids = ids
            .iter()
            .enumerate()
            .map(|(row, &id)| {
                u32::try_from(id)
                    .ok()
                    .filter(|&id| (id as usize) < classes.len())
                    .ok_or_else(|| {
                        Error::file(
                            path,
                            format!("{place}, row {row}"),
                            format!(
                                "class {id} is not one of the {} declared classes",
                                classes.len()
                            ),
                            "Number the classes from 0 in the order of their names, and leave out rows without a label",
                        )
                    })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            ids,
            classes,
            naming: Naming::Declared,
            path: path.to_owned(),
        })
    }

    /// From integers without names: each distinct number is a class.
    pub(super) fn numbered(path: &Path, place: &str, numbers: &[i64]) -> Result<Self> {
        if let Some((row, number)) = numbers.iter().enumerate().find(|(_, n)| **n < 0) {
            return Err(Error::file(
                path,
                format!("{place}, row {row}"),
                format!("the label is {number}"),
                "Labels count from 0: leave out the rows that have none, in the activations as well",
            ));
        }
        let distinct: Vec<i64> = numbers
            .iter()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let ids = numbers
            .iter()
            .map(|n| distinct.partition_point(|d| d < n) as u32)
            .collect();
        Ok(Self {
            ids,
            classes: distinct.iter().map(i64::to_string).collect(),
            naming: Naming::Numbered,
            path: path.to_owned(),
        })
    }

    /// From the name of every sample's class.
    pub(super) fn spelled(path: &Path, names: Vec<String>) -> Self {
        let classes = sorted(names.iter().map(String::as_str).collect());
        let id = index(&classes);
        Self {
            ids: names.iter().map(|name| id[name.as_str()]).collect(),
            classes,
            naming: Naming::Spelled,
            path: path.to_owned(),
        }
    }

    /// The names of the classes that occur.
    fn present(&self) -> HashSet<&str> {
        self.ids
            .iter()
            .map(|&id| self.classes[id as usize].as_str())
            .collect()
    }
}

/// Brings the labels of one task in several parts (train first) to the same classes in the same order.
///
/// Declared lists stand in their order, joined in the order of the parts; names that no file declares follow, sorted.
/// A class of dev or test that train lacks is legal; a part that shares no class at all with train is not.
pub(super) fn unify(task: &str, parts: Vec<LabelColumn>) -> Result<Vec<Labels>> {
    let declared: Option<Vec<String>> = parts
        .iter()
        .find(|part| part.naming == Naming::Declared)
        .map(|part| part.classes.clone());
    let mut parts = parts;
    if let Some(list) = &declared {
        for part in &mut parts {
            if part.naming == Naming::Numbered {
                let numbers: Vec<i64> = part
                    .ids
                    .iter()
                    .map(|&id| part.classes[id as usize].parse().unwrap_or(i64::MAX))
                    .collect();
                *part = LabelColumn::declared(&part.path, "labels", &numbers, list.clone())?;
            }
        }
    }
    let mut union = Vec::new();
    let mut known = HashSet::new();
    for part in parts.iter().filter(|p| p.naming == Naming::Declared) {
        for name in &part.classes {
            if known.insert(name.clone()) {
                union.push(name.clone());
            }
        }
    }
    let others: BTreeSet<&str> = parts
        .iter()
        .flat_map(|part| part.classes.iter().map(String::as_str))
        .filter(|name| !known.contains(*name))
        .collect();
    union.extend(sorted(others));
    check_overlap(task, &parts)?;
    let id = index(&union);
    parts
        .into_iter()
        .map(|part| {
            let to: Vec<u32> = part.classes.iter().map(|name| id[name.as_str()]).collect();
            let ids = part.ids.iter().map(|&from| to[from as usize]).collect();
            Labels::new(ids, union.clone())
        })
        .collect()
}

/// The labels of one task in several files one after the other. Lists that files declare must be the same; other names are
/// brought together.
pub(super) fn joined(task: &str, columns: Vec<LabelColumn>) -> Result<LabelColumn> {
    let first = &columns[0];
    let (naming, path) = (first.naming, first.path.clone());
    if let Some(other) = columns.iter().find(|column| {
        column.naming != naming || naming == Naming::Declared && column.classes != first.classes
    }) {
        return Err(Error::file(
            &other.path,
            format!("labels of task \"{task}\""),
            format!("its classes are not declared as in {}", path.display()),
            "Write the shards with the same list of classes",
        ));
    }
    let classes = match naming {
        Naming::Declared => first.classes.clone(),
        Naming::Numbered | Naming::Spelled => {
            let names = columns.iter().flat_map(|c| &c.classes);
            sorted(names.map(String::as_str).collect())
        }
    };
    let id = index(&classes);
    let mut ids = Vec::new();
    for column in &columns {
        let to: Vec<u32> = column.classes.iter().map(|c| id[c.as_str()]).collect();
        ids.extend(column.ids.iter().map(|&from| to[from as usize]));
    }
    Ok(LabelColumn {
        ids,
        classes,
        naming,
        path,
    })
}

fn check_overlap(task: &str, parts: &[LabelColumn]) -> Result<()> {
    let Some((train, others)) = parts.split_first() else {
        return Ok(());
    };
    let ours = train.present();
    for part in others {
        let theirs = part.present();
        if !theirs.is_empty() && ours.is_disjoint(&theirs) {
            let example = part.classes[part.ids[0] as usize].as_str();
            return Err(Error::file(
                &part.path,
                format!("labels of task \"{task}\""),
                format!(
                    "not one of its labels (\"{example}\", …) occurs in {}",
                    train.path.display()
                ),
                "Give label files of the same task for train, dev and test",
            ));
        }
    }
    Ok(())
}

/// By value where all names are numbers, else by code point.
fn sorted(names: BTreeSet<&str>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let numbers: Option<Vec<u64>> = names.iter().map(|name| name.parse().ok()).collect();
    if numbers.is_some() {
        names.sort_by_key(|name| name.parse::<u64>().unwrap_or(u64::MAX));
    }
    names
}

fn index(names: &[String]) -> HashMap<&str, u32> {
    names.iter().map(String::as_str).zip(0..).collect()
}
