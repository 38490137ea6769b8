//! The plugin's lines, counted: the file is read on from where it was, and begun anew when it is large.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use coordinator_core::tally::Call;
use tracing::warn;

use super::Metrics;

/// A file that holds more is begun anew, bytes.
const LARGE: u64 = 1 << 20;
/// How long a renamed file is read on: a call that had it open writes its line within that time.
const LAST_LINES: Duration = Duration::from_secs(30);

/// Why lines are not counted.
#[derive(Debug, thiserror::Error)]
#[error("the plugin's calls cannot be counted: {path}: {source}")]
pub struct TallyError {
    path: PathBuf,
    source: io::Error,
}

/// Counts for ever, looking every `every`.
///
/// # Errors
/// The file cannot be made.
pub async fn count(path: &Path, metrics: &Metrics, every: Duration) -> Result<(), TallyError> {
    let mut reader = Reader::open(path)?;
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = reader.read_on(|call| metrics.call(&call)) {
            warn!(%error, "Counting goes on.");
        }
    }
}

/// The file being read, and the one before it for a while.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    now: Source,
    before: Option<(Source, std::time::Instant)>,
}

#[derive(Debug)]
struct Source {
    file: File,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
}

impl Reader {
    /// Opens the file at its end, made when it is missing: what an earlier agent read is not read again.
    pub(super) fn open(path: &Path) -> Result<Self, TallyError> {
        let failed = |source| TallyError { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let mut now = Source::open(path, false).map_err(failed)?;
        now.file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), now, before: None })
    }

    /// Hands over the calls since the last time.
    pub(super) fn read_on(&mut self, mut take: impl FnMut(Call)) -> Result<(), TallyError> {
        let failed = |source| TallyError { path: self.path.clone(), source };
        if let Some((before, since)) = &mut self.before {
            before.read_on(&mut take).map_err(failed)?;
            if since.elapsed() > LAST_LINES {
                self.before = None;
            }
        }
        self.now.read_on(&mut take).map_err(failed)?;
        let is_gone = !self.path.exists();
        if is_gone || self.now.file.metadata().map_err(failed)?.len() > LARGE {
            let fresh = self.path.with_extension("new");
            let _ = fs::remove_file(&fresh);
            let source = Source::open(&fresh, true).map_err(failed)?;
            fs::rename(&fresh, &self.path).map_err(failed)?;
            self.before = Some((std::mem::replace(&mut self.now, source), std::time::Instant::now()));
        }
        Ok(())
    }
}

impl Source {
    fn open(path: &Path, is_new: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).mode(0o600);
        let file = if is_new { options.create_new(true).open(path)? } else { options.create(true).open(path)? };
        Ok(Self { file, rest: Vec::new() })
    }

    fn read_on(&mut self, take: &mut impl FnMut(Call)) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.rest);
        self.file.read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
        self.rest = bytes.split_off(end);
        for line in String::from_utf8_lossy(&bytes).lines() {
            if let Some(call) = Call::parse(line) {
                take(call);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_counted_once_also_across_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent/calls");
        let mut reader = Reader::open(&path).unwrap();
        let call = Call::new("ADD", None, Duration::from_millis(2));
        let mut counted = 0;
        let mut written = 0;
        let mut late = OpenOptions::new().append(true).open(&path).unwrap();
        for _ in 0..3 {
            for _ in 0..40_000 {
                call.note(&path);
                written += 1;
            }
            reader.read_on(|_| counted += 1).unwrap();
            assert_eq!(counted, written);
        }
        assert!(fs::metadata(&path).unwrap().len() <= LARGE, "it was begun anew");
        // A call that had the old file open still counts.
        io::Write::write_all(&mut late, b"ADD 0 1 -\nADD 0 2").unwrap();
        reader.read_on(|_| counted += 1).unwrap();
        assert!(counted >= written, "{counted}");
        fs::remove_file(&path).unwrap();
        reader.read_on(|_| ()).unwrap();
        let before = counted;
        call.note(&path);
        reader.read_on(|_| counted += 1).unwrap();
        assert_eq!(counted, before + 1, "a removed file is made again");
    }

    #[test]
    fn half_a_line_waits_for_its_end_and_nonsense_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls");
        fs::write(&path, "ADD 0 1 -\n").unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let mut write = OpenOptions::new().append(true).open(&path).unwrap();
        let mut counted = Vec::new();
        for part in ["nonsense\nADD 10", "4 7 veth\nDEL"] {
            io::Write::write_all(&mut write, part.as_bytes()).unwrap();
            reader.read_on(|call| counted.push(call)).unwrap();
        }
        let [only] = counted.as_slice() else { panic!("{counted:?}") };
        assert_eq!((only.code, only.stage.as_str()), (104, "veth"));
    }
}
