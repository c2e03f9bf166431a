//! The data directory: whose it is, and that nobody else uses it.

use super::disk::try_lock;
use crate::types::Uuid;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Version of the layout below the directory.
const FORMAT: &str = "klamm-1";

/// A file with written blocks. glommio learns from the first file that a core opens whether the device can be polled, and
/// learns it wrong from an empty or unwritten one, which the kernel reads without asking the device.
pub const PROBE: &str = "io.probe";
const PROBE_BYTES: usize = 4096;

/// A directory that this process has locked.
pub struct DataDir {
    pub root: PathBuf,
    pub cluster_id: Uuid,
    /// Holds the lock as long as it is open.
    _lock: fs::File,
}

/// Random bits from the kernel.
pub fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_be_bytes(bytes))
}

impl DataDir {
    /// Locks the directory; formats it if it is empty or not there.
    pub fn open(path: &Path, node_id: i32) -> Result<DataDir, String> {
        let place = path.display().to_string();
        let place = place.as_str();
        let with = |what: &'static str| move |error: io::Error| format!("{place}: {what}: {error}");
        fs::create_dir_all(path).map_err(with("the data directory cannot be made"))?;
        let root = path.canonicalize().map_err(with("the data directory cannot be opened"))?;
        let mut options = fs::OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).open(root.join(".lock"));
        let lock = lock.map_err(with("the lock file cannot be opened; the directory must be writable"))?;
        if !try_lock(&lock).map_err(with("the directory cannot be locked"))? {
            return Err(format!(
                "{place}: the data directory is in use by another process; stop that one or set log.dirs to another directory"
            ));
        }
        let metadata = root.join("meta.properties");
        let cluster_id = match fs::read_to_string(&metadata) {
            Ok(text) => check(&text, node_id).map_err(|what| format!("{}: {what}", metadata.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(stranger) = first_entry(&root).map_err(with("cannot be listed"))? {
                    return Err(format!(
                        "{place}: the directory is not empty ({stranger}) and is no data directory of Klamm; set log.dirs to an empty or new one"
                    ));
                }
                format(&metadata, node_id).map_err(with("cannot be formatted"))?
            }
            Err(error) => return Err(with("meta.properties cannot be read")(error)),
        };
        let probe = root.join(PROBE);
        if fs::metadata(&probe).is_ok_and(|known| known.len() == PROBE_BYTES as u64) {
            return Ok(DataDir { root, cluster_id, _lock: lock });
        }
        super::disk::replace_file(&probe, &[b'\n'; PROBE_BYTES]).map_err(with("cannot be written"))?;
        Ok(DataDir { root, cluster_id, _lock: lock })
    }
}

fn first_entry(root: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != ".lock" && name != "lost+found" && name != "meta.tmp" && name != PROBE {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn format(path: &Path, node_id: i32) -> io::Result<Uuid> {
    let mut bytes = random()?.to_be_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let cluster_id = Uuid(bytes);
    let text = format!("# Klamm\nversion=1\nformat={FORMAT}\ncluster.id={cluster_id}\nnode.id={node_id}\n");
    super::disk::replace_file(path, text.as_bytes())?;
    Ok(cluster_id)
}

fn check(text: &str, node_id: i32) -> Result<Uuid, String> {
    let value = |key: &str| {
        text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('=').map(str::trim))
    };
    match value("format") {
        Some(FORMAT) => {}
        Some(other) => return Err(format!("format {other} is not {FORMAT}, which this version of Klamm reads")),
        None => {
            return Err(
                "this is a data directory of Apache Kafka or another broker; set log.dirs to an empty one".into()
            );
        }
    }
    let known = value("node.id").and_then(|id| id.parse::<i32>().ok()).ok_or("node.id is missing")?;
    if known != node_id {
        return Err(format!("the directory belongs to node.id={known}, this node is node.id={node_id}"));
    }
    value("cluster.id").and_then(Uuid::parse).ok_or_else(|| "cluster.id is missing or no cluster id".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_formatted_once_and_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = DataDir::open(&path, 1).map_err(|e| panic!("{e}")).unwrap();
        let error = DataDir::open(&path, 1).err().unwrap();
        assert!(error.contains("in use"), "{error}");
        let id = first.cluster_id;
        drop(first);
        assert_eq!(DataDir::open(&path, 1).ok().unwrap().cluster_id, id);
        let error = DataDir::open(&path, 2).err().unwrap();
        assert!(error.contains("node.id=1"), "{error}");
    }

    #[test]
    fn strangers_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        let error = DataDir::open(dir.path(), 1).err().unwrap();
        assert!(error.contains("thesis.tex"), "{error}");
        assert!(check("version=1\ncluster.id=x\nnode.id=1\n", 1).unwrap_err().contains("Kafka"));
        assert!(check("format=klamm-9\n", 1).unwrap_err().contains("klamm-9"));
    }
}
