//! The log file: beneath the node's log directory, begun anew when it is large, old ones removed.

use std::{
    fs::File,
    io,
    path::{Component, Path},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use coordinator_sdk::LogOptions;
use coordinator_stages::kernel::directory::{Directory, DirectoryError, Share};

/// How long another process that begins a new file is waited for; else the old one serves once more.
const PATIENCE: Duration = Duration::from_millis(20);
const MEGABYTE: u64 = 1_000_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogFileError {
    /// The path does not lead into the log directory.
    #[error("{0} does not lie under the log directory")]
    Elsewhere(String),
    /// A directory or the file cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The file's size is not known.
    #[error("cannot look at the log file")]
    Size(#[from] io::Error),
}

/// Opens the log file to write at its end. A file of `max_size_mb` megabytes is put aside before.
///
/// # Errors
/// It does not lie under `directory`, or cannot be opened beneath it without following links.
pub fn open(options: &LogOptions, directory: &Path) -> Result<File, LogFileError> {
    let elsewhere = || LogFileError::Elsewhere(options.file.clone());
    let beneath = Path::new(&options.file).strip_prefix(directory).map_err(|_| elsewhere())?;
    let mut names = Vec::new();
    for component in beneath.components() {
        match component {
            Component::Normal(name) => names.push(name.to_str().ok_or_else(elsewhere)?),
            _ => return Err(elsewhere()),
        }
    }
    let (name, between) = names.split_last().ok_or_else(elsewhere)?;
    let mut place = Directory::open_guarded(directory)?;
    for part in between {
        place = place.make_directory(part)?;
    }
    let file = place.append(name)?;
    let limit = u64::from(options.max_size_mb).saturating_mul(MEGABYTE);
    if limit == 0 || file.metadata()?.len() < limit {
        return Ok(file);
    }
    let Ok(_lock) = place.lock(Share::Exclusive, PATIENCE) else { return Ok(file) };
    // Another process may have begun a new one since.
    let file = place.append(name)?;
    if file.metadata()?.len() < limit {
        return Ok(file);
    }
    let (stem, extension) = name.rsplit_once('.').map_or((*name, String::new()), |(s, e)| (s, format!(".{e}")));
    let now = SystemTime::now();
    let stamp = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    place.rename(name, &format!("{stem}-{stamp}{extension}"))?;
    prune(&place, stem, &extension, options, now)?;
    Ok(place.append(name)?)
}

/// Removes old files: those beyond the count, and those beyond the age.
fn prune(
    place: &Directory,
    stem: &str,
    extension: &str,
    options: &LogOptions,
    now: SystemTime,
) -> Result<(), LogFileError> {
    let stamp_of = |name: &str| -> Option<u64> {
        name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(extension)?.parse().ok()
    };
    let mut old: Vec<(u64, String)> =
        place.names()?.filter_map(|name| stamp_of(&name).map(|stamp| (stamp, name))).collect();
    old.sort_unstable_by(|left, right| right.cmp(left));
    let count = match options.max_count {
        0 => usize::MAX,
        count => usize::try_from(count).unwrap_or(usize::MAX),
    };
    let age = DAY.saturating_mul(options.max_age_days);
    for (at, (stamp, name)) in old.iter().enumerate() {
        let begun = UNIX_EPOCH + Duration::from_millis(*stamp);
        let is_aged = !age.is_zero() && now.duration_since(begun).is_ok_and(|since| since > age);
        if at >= count || is_aged {
            place.remove(name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coordinator_sdk::Settings;
    use std::{io::Write as _, os::unix::fs::symlink};

    fn options(file: &Path) -> LogOptions {
        LogOptions {
            file: file.to_str().unwrap().to_owned(),
            max_size_mb: 1,
            max_count: 2,
            ..Settings::default().log_options
        }
    }

    #[test]
    fn a_large_file_is_put_aside_and_few_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(&directory.path().join("node/plugin.log"));
        for _ in 0..5 {
            open(&options, directory.path()).unwrap().write_all(&vec![b'x'; 1_000_000]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        let names: Vec<_> =
            std::fs::read_dir(directory.path().join("node")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
    }

    #[test]
    fn aged_files_go() {
        let directory = tempfile::tempdir().unwrap();
        let options = LogOptions { max_count: 0, max_age_days: 1, ..options(&directory.path().join("plugin.log")) };
        for stamp in ["1000", "99999999999999"] {
            std::fs::write(directory.path().join(format!("plugin-{stamp}.log")), "").unwrap();
        }
        std::fs::write(directory.path().join("plugin.log"), vec![b'x'; 1_000_000]).unwrap();
        open(&options, directory.path()).unwrap();
        assert!(!directory.path().join("plugin-1000.log").exists());
        assert!(directory.path().join("plugin-99999999999999.log").exists());
    }

    #[test]
    fn nothing_outside_and_no_link_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        std::fs::write(&victim, "v").unwrap();
        let logs = directory.path().join("logs");
        std::fs::create_dir(&logs).unwrap();
        symlink(&victim, logs.join("plugin.log")).unwrap();
        symlink(directory.path(), logs.join("out")).unwrap();
        for bad in
            [logs.join("plugin.log"), logs.join("out/victim"), logs.join("../victim"), victim.clone(), logs.clone()]
        {
            assert!(open(&options(&bad), &logs).is_err(), "{bad:?}");
        }
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "v");
    }
}
