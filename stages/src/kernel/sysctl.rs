//! Kernel parameters below `/proc/sys/net`, of the network namespace that the calling thread is in.
//!
//! `/proc/sys/net` shows the namespace of whoever opens the file, so callers prove where they are.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::PathBuf,
};

use super::namespace::Inside;

/// Longer values than any parameter of `net` has.
const LONGEST_BYTES: usize = 4096;

/// Why a kernel parameter could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// The name does not lead to a parameter of the network.
    #[error("{0:?} is not the name of a network parameter")]
    Key(String),
    /// The kernel refused.
    #[error("cannot {verb} sysctl {key}: {source}")]
    Io {
        /// `read` or `write`.
        verb: &'static str,
        /// The parameter.
        key: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl SysctlError {
    /// True for a parameter that is not there (any more), such as one of a deleted interface.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn path_of(key: &str) -> Result<PathBuf, SysctlError> {
    let mut parts = key.split('/');
    let is_of_net = parts.next() == Some("net");
    let is_plain = parts.all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'));
    match is_of_net && is_plain && key.len() > "net/".len() {
        true => Ok(PathBuf::from(format!("/proc/sys/{key}"))),
        false => Err(SysctlError::Key(key.to_owned())),
    }
}

/// The value, without the line end; absent when there is no such parameter.
///
/// # Errors
/// The name is not one of `net/…`, or the kernel refuses.
pub fn read(_: &Inside<'_>, key: &str) -> Result<Option<String>, SysctlError> {
    let failed = |source| SysctlError::Io { verb: "read", key: key.to_owned(), source };
    let mut file = match File::open(path_of(key)?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    // The kernel gives all of a value to the first read.
    let mut bytes = [0; LONGEST_BYTES];
    let length = loop {
        match file.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            length => break length.map_err(failed)?,
        }
    };
    let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
    Ok(Some(text.trim_end().to_owned()))
}

/// Writes a value.
///
/// # Errors
/// The name is not one of `net/…`, there is no such parameter, or the kernel refuses the value.
pub fn write(_: &Inside<'_>, key: &str, value: &str) -> Result<(), SysctlError> {
    let failed = |source| SysctlError::Io { verb: "write", key: key.to_owned(), source };
    let mut file = OpenOptions::new().write(true).open(path_of(key)?).map_err(failed)?;
    file.write_all(value.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::namespace::Namespace;

    fn here(work: impl FnOnce(&Inside<'_>) + Send) {
        Namespace::current().unwrap().enter(work).unwrap();
    }

    #[test]
    fn names_cannot_leave_the_network() {
        here(|inside| {
            for bad in
                ["", "net", "net/", "kernel/hostname", "net/../kernel/hostname", "/net/core", "net//core", "net/./a"]
            {
                assert!(matches!(read(inside, bad), Err(SysctlError::Key(_))), "{bad:?}");
                assert!(matches!(write(inside, bad, "1"), Err(SysctlError::Key(_))), "{bad:?}");
            }
        });
    }

    #[test]
    fn a_parameter_is_read_and_an_absent_one_is_none() {
        here(|inside| {
            let value = read(inside, "net/ipv4/conf/all/rp_filter").unwrap().unwrap();
            assert!(value.parse::<u8>().is_ok(), "{value:?}");
            assert_eq!(read(inside, "net/ipv4/conf/no-such-link/rp_filter").unwrap(), None);
            assert!(write(inside, "net/ipv4/conf/no-such-link/rp_filter", "0").unwrap_err().is_absent());
        });
    }
}
