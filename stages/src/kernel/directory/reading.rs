//! A file that is read as far as somebody wants it.
//!
//! Files of a [`Directory`](super::Directory) are replaced, never altered: what is read later belongs to what was read
//! before.

use std::{
    fs::File,
    io::{BufRead, ErrorKind, Read},
    path::PathBuf,
};

use super::DirectoryError;

/// What is read at once while the end of the first line is looked for.
const PIECE: usize = 4096;

/// An open file and what was read of it.
#[derive(Debug)]
pub struct Reading {
    file: File,
    path: PathBuf,
    limit: u64,
    bytes: Vec<u8>,
}

impl Reading {
    pub(super) fn new(file: File, path: PathBuf, limit: u64) -> Self {
        Self { file, path, limit, bytes: Vec::new() }
    }

    /// The first line without its end, or all when there is no second one.
    ///
    /// # Errors
    /// It cannot be read, is not text, or has more bytes than the limit.
    pub fn first_line(&mut self) -> Result<&str, DirectoryError> {
        let mut seen = 0;
        let end = loop {
            if let Some(length) = line_in(self.bytes.get(seen..).unwrap_or_default()) {
                break seen + length;
            }
            seen = self.bytes.len();
            if self.read_piece()? == 0 {
                break seen;
            }
        };
        self.text(end)
    }

    /// Everything.
    ///
    /// # Errors
    /// As [`Reading::first_line`].
    pub fn whole(&mut self) -> Result<&str, DirectoryError> {
        let most = self.limit.saturating_add(1).saturating_sub(length(&self.bytes));
        let read = (&self.file).take(most).read_to_end(&mut self.bytes);
        read.map_err(|source| DirectoryError::Io { verb: "read", path: self.path.clone(), source })?;
        self.check_length()?;
        self.text(self.bytes.len())
    }

    fn read_piece(&mut self) -> Result<usize, DirectoryError> {
        let before = self.bytes.len();
        self.bytes.resize(before + PIECE, 0);
        let room = self.bytes.get_mut(before..).unwrap_or_default();
        let read = loop {
            match self.file.read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.bytes.truncate(before + read.as_ref().copied().unwrap_or(0));
        let read = read.map_err(|source| DirectoryError::Io { verb: "read", path: self.path.clone(), source })?;
        self.check_length()?;
        Ok(read)
    }

    fn check_length(&self) -> Result<(), DirectoryError> {
        match length(&self.bytes) <= self.limit {
            true => Ok(()),
            false => Err(DirectoryError::TooLarge { path: self.path.clone(), limit: self.limit }),
        }
    }

    fn text(&self, end: usize) -> Result<&str, DirectoryError> {
        let text = str::from_utf8(self.bytes.get(..end).unwrap_or_default());
        text.map_err(|error| DirectoryError::Io {
            verb: "read",
            path: self.path.clone(),
            source: std::io::Error::new(ErrorKind::InvalidData, error),
        })
    }
}

/// The length of the line that ends in these bytes first.
fn line_in(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let length = rest.skip_until(b'\n').ok()?.checked_sub(1)?;
    (bytes.get(length) == Some(&b'\n')).then_some(length)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::Directory, *};

    #[test]
    fn a_file_is_read_line_first_and_whole_later_however_long_its_lines_are() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::open_private(&parent.path().join("state")).unwrap();
        for first in [0, 1, PIECE - 1, PIECE, 3 * PIECE] {
            for rest in ["", "\n", "\nrest", "\nrest\n"] {
                let (line, whole) = ("x".repeat(first), format!("{}{rest}", "x".repeat(first)));
                directory.write("file", &whole).unwrap();
                let mut reading = directory.reading("file", 1 << 20).unwrap().unwrap();
                // It may be replaced meanwhile: what is open is read.
                directory.write("file", "another one").unwrap();
                assert_eq!(reading.first_line().unwrap(), line);
                assert_eq!(reading.first_line().unwrap(), line);
                assert_eq!(reading.whole().unwrap(), whole);
                assert_eq!(reading.first_line().unwrap(), line);
            }
        }
        directory.write("file", "12345").unwrap();
        for read in [Reading::first_line, Reading::whole] {
            let too_large = read(&mut directory.reading("file", 4).unwrap().unwrap()).map(str::to_owned);
            assert!(matches!(too_large, Err(DirectoryError::TooLarge { limit: 4, .. })), "{too_large:?}");
            read(&mut directory.reading("file", 5).unwrap().unwrap()).unwrap();
        }
        directory.write("file", [0xff, b'\n']).unwrap();
        assert!(directory.reading("file", 5).unwrap().unwrap().first_line().is_err());
        assert!(directory.reading("none", 5).unwrap().is_none());
    }
}
