//! Output folders and files: found unusable before the work starts; each file is written under a temporary name and renamed.

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

    /// Removes what runs that were killed were writing. Only for a folder that no other run writes to.
    pub(super) fn tidy(&self) -> Result<()> {
        let failed = |source| Error::io("read", &self.path, source);
        for entry in self.path.read_dir().map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            let name = file.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with('.') && name.ends_with(".tmp")) {
                std::fs::remove_file(&file).map_err(|source| Error::io("remove", &file, source))?;
            }
        }
        Ok(())
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

/// One output file, perhaps with others beside it, in a folder that is known to be writable.
#[derive(Debug)]
pub(super) struct Destination {
    folder: OutputFolder,
    file: PathBuf,
    stem: String,
    extension: String,
}

impl Destination {
    /// Checks the extension and the folder.
    pub(super) fn new(file: &Path, extensions: &[&str]) -> Result<Self> {
        let stem = file.file_stem().and_then(|stem| stem.to_str());
        let extension = file.extension().and_then(|extension| extension.to_str());
        let (Some(stem), Some(extension)) = (stem, extension.filter(|e| extensions.contains(e)))
        else {
            return Err(Error::invalid(
                format!("output file {}", file.display()),
                format!("its name does not end in .{}", extensions.join(" or .")),
                format!(
                    "Name it, say, {}.{}",
                    stem.unwrap_or("result"),
                    extensions[0]
                ),
            ));
        };
        for written in [file.to_owned(), file.with_extension("json")] {
            if written.is_dir() {
                return Err(Error::invalid(
                    format!("output file {}", file.display()),
                    format!("{} is a folder", written.display()),
                    "Name another output; what is written beside it has its name",
                ));
            }
        }
        let parent = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Ok(Self {
            folder: OutputFolder::open(parent)?,
            stem: stem.to_owned(),
            extension: extension.to_owned(),
            file: file.to_owned(),
        })
    }

    /// The extension that was named.
    pub(super) fn extension(&self) -> &str {
        &self.extension
    }

    /// Refuses to replace a file that is read, or to write among the shards of a folder that is.
    pub(super) fn spare(&self, inputs: &[&PathBuf]) -> Result<()> {
        let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
            (Ok(a), Ok(b)) => a == b,
            _ => false, // what does not exist yet is no input
        };
        let refused = |problem: String, fix: &str| {
            let what = format!("output file {}", self.file.display());
            Err(Error::invalid(what, problem, fix))
        };
        for input in inputs {
            if input.is_dir() && same(input, self.folder.path()) {
                return refused(
                    format!("{} is a folder of shards that is read", input.display()),
                    "Name an output elsewhere: every file of activations in there is a shard",
                );
            }
            let beside = ["json", "html"].map(|kind| self.file.with_extension(kind));
            for written in std::iter::once(self.file.clone()).chain(beside) {
                if same(&written, input) {
                    return refused(
                        format!(
                            "{} would be replaced, which is an input or the report of one",
                            written.display()
                        ),
                        "Name another output; the .json beside it is written too",
                    );
                }
            }
        }
        Ok(())
    }

    /// Writes the file whole or not at all.
    pub(super) fn write(&self, contents: &[u8]) -> Result<()> {
        self.write_beside(&self.extension, contents)
    }

    /// Writes a file of the same name with another extension.
    pub(super) fn write_beside(&self, extension: &str, contents: &[u8]) -> Result<()> {
        let name = format!("{}.{extension}", self.stem);
        self.folder.write(&name, contents)
    }
}

/// A number of GiB, as bytes.
pub(super) fn gibibytes(text: &str) -> std::result::Result<u64, String> {
    match text.parse::<f64>() {
        Ok(gib) if gib > 0.0 && gib <= 1e6 => Ok((gib * f64::from(1 << 30)) as u64),
        _ => Err("give a number of GiB, such as 2 or 0.5".to_owned()),
    }
}
