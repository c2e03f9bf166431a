//! The data directory: whose it is, and that nobody else uses it.

use super::disk::try_lock;
use crate::config::node::{NODE_PROPERTIES, NodeProperties};
use crate::types::{BrokerId, Uuid};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file with written blocks. glommio learns from the first file that a core opens whether the device can be polled, and
/// learns it wrong from an empty or unwritten one, which the kernel reads without asking the device.
pub const PROBE: &str = "io.probe";
const PROBE_BYTES: usize = 4096;
/// What `tuning/drive` found out about the drive, in the directory or in the one above it.
const DRIVE: &str = "drive.json";
const DRIVE_BYTES_MAX: u64 = 1 << 20;

/// A directory that this process has locked.
pub struct DataDir {
    pub root: PathBuf,
    pub cluster_id: String,
    /// Holds the lock as long as it is open.
    _lock: fs::File,
}

/// Random bits from the kernel.
pub fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_be_bytes(bytes))
}

/// An id that nobody else has. Like Kafka's, it does not begin like an option of a command.
pub fn random_id() -> io::Result<Uuid> {
    loop {
        let id = Uuid::from_random(random()?);
        if !id.to_string().starts_with('-') {
            return Ok(id);
        }
    }
}

impl DataDir {
    /// Locks the directory; formats it if it is empty or not there.
    pub fn open(path: &Path, node_id: BrokerId) -> Result<DataDir, String> {
        let (root, lock) = lock(path)?;
        let node = match inspect(&root)? {
            Some(node) => node,
            None => {
                let cluster_id = random_id().map_err(|error| format!("/dev/urandom: {error}"))?.to_string();
                let node = NodeProperties { cluster_id, node_id };
                write(&root, &node)?;
                node
            }
        };
        node.check_node(node_id).map_err(|what| format!("{}: {what}", root.join(NODE_PROPERTIES).display()))?;
        let probe = root.join(PROBE);
        let is_written = fs::metadata(&probe).is_ok_and(|known| known.len() == PROBE_BYTES as u64);
        if !is_written {
            let written = super::disk::replace_file(&probe, &[b'\n'; PROBE_BYTES]);
            written.map_err(|error| format!("{}: cannot be written: {error}", probe.display()))?;
        }
        Ok(DataDir { root, cluster_id: node.cluster_id, _lock: lock })
    }
}

/// Makes the directory if it is not there, and locks it.
fn lock(path: &Path) -> Result<(PathBuf, fs::File), String> {
    let place = &path.display();
    let with = |what: &'static str| move |error: io::Error| format!("{place}: {what}: {error}");
    fs::create_dir_all(path).map_err(with("the data directory cannot be made"))?;
    let root = path.canonicalize().map_err(with("the data directory cannot be opened"))?;
    let mut options = fs::OpenOptions::new();
    let lock = options.write(true).create(true).truncate(false).open(root.join(".lock"));
    let lock = lock.map_err(with("the lock file cannot be opened; the directory must be writable"))?;
    match try_lock(&lock).map_err(with("the directory cannot be locked"))? {
        true => Ok((root, lock)),
        false => Err(format!(
            "{place}: the data directory is in use by another process; stop that one or set log.dirs to another directory"
        )),
    }
}

/// Whose the directory is; `None` if it is empty. The error says what it is instead.
pub fn inspect(root: &Path) -> Result<Option<NodeProperties>, String> {
    let path = root.join(NODE_PROPERTIES);
    match fs::read_to_string(&path) {
        Ok(text) => NodeProperties::decode(&text).map(Some).map_err(|what| format!("{}: {what}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match first_entry(root) {
            Ok(None) => Ok(None),
            Ok(Some(stranger)) => Err(format!(
                "{}: the directory is not empty ({stranger}) and is no data directory of Klamm; set log.dirs to an empty or new one",
                root.display()
            )),
            Err(error) => Err(format!("{}: cannot be listed: {error}", root.display())),
        },
        Err(error) => Err(format!("{}: cannot be read: {error}", path.display())),
    }
}

/// Makes the directory `node`'s. Whose it is already is the answer, if it is somebody's.
pub fn format(path: &Path, node: &NodeProperties) -> Result<Option<NodeProperties>, String> {
    let (root, _lock) = lock(path)?;
    let found = inspect(&root)?;
    if found.is_none() {
        write(&root, node)?;
    }
    Ok(found)
}

fn write(root: &Path, node: &NodeProperties) -> Result<(), String> {
    let path = root.join(NODE_PROPERTIES);
    let written = super::disk::replace_file(&path, node.encode().as_bytes());
    written.map_err(|error| format!("{}: cannot be written: {error}", path.display()))
}

fn first_entry(root: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if ![".lock", "lost+found", "meta.tmp", PROBE, DRIVE].contains(&name.as_str()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// What the drive can do, if `tuning/drive` has measured it: one line of its file.
pub fn drive(root: &Path) -> Option<String> {
    let headline = |dir: &Path| {
        let mut text = String::new();
        fs::File::open(dir.join(DRIVE)).ok()?.take(DRIVE_BYTES_MAX).read_to_string(&mut text).ok()?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("\"headline\": \""))?;
        // A name with characters that JSON writes in another form is told by no line.
        let (headline, _) = line.split_once('"').filter(|(headline, _)| !headline.contains('\\'))?;
        Some(headline.to_string())
    };
    headline(root).or_else(|| headline(root.parent()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_formatted_once_and_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = DataDir::open(&path, BrokerId(1)).map_err(|e| panic!("{e}")).unwrap();
        let error = DataDir::open(&path, BrokerId(1)).err().unwrap();
        assert!(error.contains("in use"), "{error}");
        let id = first.cluster_id.clone();
        drop(first);
        assert_eq!(DataDir::open(&path, BrokerId(1)).ok().unwrap().cluster_id, id);
        let error = DataDir::open(&path, BrokerId(2)).err().unwrap();
        assert!(error.contains("node.id=1"), "{error}");
    }

    #[test]
    fn a_directory_keeps_the_id_it_is_formatted_with() {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeProperties { cluster_id: "any".into(), node_id: BrokerId(3) };
        assert_eq!(format(dir.path(), &node), Ok(None));
        let other = NodeProperties { cluster_id: "other".into(), node_id: BrokerId(3) };
        assert_eq!(format(dir.path(), &other), Ok(Some(node)));
        let open = DataDir::open(dir.path(), BrokerId(3)).ok().unwrap();
        assert_eq!(open.cluster_id, "any");
        assert!(format(dir.path(), &other).unwrap_err().contains("in use"));
    }

    #[test]
    fn strangers_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        let error = DataDir::open(dir.path(), BrokerId(1)).err().unwrap();
        assert!(error.contains("thesis.tex"), "{error}");
        let node = NodeProperties { cluster_id: "c".into(), node_id: BrokerId(1) };
        assert!(format(dir.path(), &node).unwrap_err().contains("thesis.tex"));
    }

    #[test]
    fn a_measured_drive_is_told_and_no_stranger() {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("data");
        fs::create_dir(&root).unwrap();
        assert_eq!(drive(&root), None);
        fs::write(above.path().join(DRIVE), "{\n \"schema\": 1,\n \"headline\": \"vda: 9 us\",\n}\n").unwrap();
        assert_eq!(drive(&root).as_deref(), Some("vda: 9 us"));
        fs::write(root.join(DRIVE), "{\n \"headline\": \"vdb: 8 us\"\n}\n").unwrap();
        assert_eq!(drive(&root).as_deref(), Some("vdb: 8 us"));
        assert!(DataDir::open(&root, BrokerId(1)).is_ok());
        for broken in ["", "\"headline\": \"", "\"headline\": \"a\\u0000\"", "\0\u{fffd}"] {
            fs::write(root.join(DRIVE), broken).unwrap();
            fs::remove_file(above.path().join(DRIVE)).ok();
            assert_eq!(drive(&root), None, "{broken:?}");
        }
    }
}
