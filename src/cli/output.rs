//! The output folder: found unusable before the work starts; each file is written under a temporary name and renamed.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// An output folder that is known to be writable.
#[derive(Debug)]
pub(super) struct OutputFolder {
    path: PathBuf,
}

impl OutputFolder {
    /// Creates the folder where there is none and writes a first file to it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path.exists() && !path.is_dir() {
            return Err(Error::invalid(
                format!("output folder {}", path.display()),
                "it is a file",
                "Name a folder; it is created where there is none",
            ));
        }
        std::fs::create_dir_all(path).map_err(|source| Error::io("create", path, source))?;
        let folder = Self {
            path: path.to_owned(),
        };
        let trial = folder.temporary("trial");
        std::fs::write(&trial, b"")
            .and_then(|()| std::fs::remove_file(&trial))
            .map_err(|source| Error::io("write to", path, source))?;
        Ok(folder)
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `name` (which may lie in a folder below) whole or not at all.
    pub(super) fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| Error::io("create", folder, source))?;
        }
        let temporary = self.temporary(&name.replace('/', "-"));
        let written = std::fs::File::create(&temporary)
            .and_then(|mut file| file.write_all(contents).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&temporary, &path));
        written.map_err(|source| {
            // The temporary file is of no use; that it could not be removed either would hide the first error.
            drop(std::fs::remove_file(&temporary));
            Error::io("write", &path, source)
        })
    }

    /// A name that two runs do not share.
    fn temporary(&self, name: &str) -> PathBuf {
        self.path
            .join(format!(".{name}.{}.tmp", std::process::id()))
    }
}
