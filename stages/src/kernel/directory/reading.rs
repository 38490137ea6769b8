//! A file that is read as far as somebody wants it.
//!
//! Files of a [`Directory`](super::Directory) are replaced, never altered: what is read later belongs to what was read
//! before.

use std::{
    fs::File,
    io::{self, BufRead, ErrorKind, Read, Seek},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use super::DirectoryError;

/// What is read at once while the end of the first line is looked for.
const PIECE: usize = 4096;

/// An open file. Nothing that was read of it is kept: who wants more begins anew.
#[derive(Debug)]
pub struct Reading {
    file: File,
    path: PathBuf,
    limit: u64,
}

impl Reading {
    pub(super) fn new(file: File, path: PathBuf, limit: u64) -> Self {
        Self { file, path, limit }
    }

    /// The first line without its end, or all when there is no second one.
    ///
    /// # Errors
    /// It cannot be read, is not text, or has more bytes than the limit.
    pub fn first_line(&self) -> Result<String, DirectoryError> {
        let mut bytes = Vec::new();
        let end = loop {
            let before = bytes.len();
            bytes.resize(before + PIECE, 0);
            let room = bytes.get_mut(before..).unwrap_or_default();
            let read = self.file.read_at(room, length(before)).map_err(|source| self.unreadable(source))?;
            bytes.truncate(before + read);
            self.check_length(bytes.len())?;
            match line_in(bytes.get(before..).unwrap_or_default()) {
                Some(length) => break before + length,
                None if read == 0 => break before,
                None => {}
            }
        };
        bytes.truncate(end);
        String::from_utf8(bytes).map_err(|error| self.unreadable(io::Error::new(ErrorKind::InvalidData, error)))
    }

    /// Everything.
    ///
    /// # Errors
    /// As [`Reading::first_line`].
    pub fn whole(&self) -> Result<String, DirectoryError> {
        let (mut file, mut text) = (&self.file, String::new());
        let read = file.rewind().and_then(|()| file.take(self.limit.saturating_add(1)).read_to_string(&mut text));
        read.map_err(|source| self.unreadable(source))?;
        self.check_length(text.len())?;
        Ok(text)
    }

    fn check_length(&self, bytes: usize) -> Result<(), DirectoryError> {
        match length(bytes) <= self.limit {
            true => Ok(()),
            false => Err(DirectoryError::TooLarge { path: self.path.clone(), limit: self.limit }),
        }
    }

    fn unreadable(&self, source: io::Error) -> DirectoryError {
        DirectoryError::Io { verb: "read", path: self.path.clone(), source }
    }
}

/// The length of the line that ends in these bytes first.
fn line_in(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let length = rest.skip_until(b'\n').ok()?.checked_sub(1)?;
    (bytes.get(length) == Some(&b'\n')).then_some(length)
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
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
                let reading = directory.reading("file", 1 << 20).unwrap().unwrap();
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
            let too_large = read(&directory.reading("file", 4).unwrap().unwrap());
            assert!(matches!(too_large, Err(DirectoryError::TooLarge { limit: 4, .. })), "{too_large:?}");
            read(&directory.reading("file", 5).unwrap().unwrap()).unwrap();
        }
        directory.write("file", [0xff, b'\n']).unwrap();
        assert!(directory.reading("file", 5).unwrap().unwrap().first_line().is_err());
        assert!(directory.reading("none", 5).unwrap().is_none());
    }
}
