//! What `tuning/drive` has found out about the drives that a broker on this host keeps its data on.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a broker, Klamm or Kafka, holds open in each of its data directories.
const LOCK: &str = ".lock";
/// In a data directory, or in the one above it.
const FILE: &str = "drive.json";
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One line for all drives that were measured, of those that this process has data on; none if there are none.
pub fn headline(root: &Path, pid: u32) -> Option<String> {
    let open = fs::read_dir(root.join(format!("proc/{pid}/fd"))).ok()?;
    let open = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let locks = open.filter(|path| path.file_name().is_some_and(|name| name == LOCK));
    let places: BTreeSet<PathBuf> = locks.filter_map(|lock| Some(lock.parent()?.to_path_buf())).collect();
    let headlines: BTreeSet<String> = places.iter().filter_map(|place| of(place)).collect();
    (!headlines.is_empty()).then(|| headlines.into_iter().collect::<Vec<_>>().join("; "))
}

fn of(place: &Path) -> Option<String> {
    let above = place.parent();
    let (file, report) = [Some(place), above].into_iter().flatten().find_map(|directory| {
        let file = directory.join(FILE);
        let mut text = String::new();
        fs::File::open(&file).ok()?.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
        let report: Value = serde_json::from_str(&text).ok()?;
        report["headline"].is_string().then_some((file, report))
    })?;
    let device = fs::metadata(place).ok()?.dev();
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    match report["drive"]["number"] == number.as_str() {
        true => report["headline"].as_str().map(str::to_string),
        false => Some(format!("{} is of another drive than {}", file.display(), place.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_drive_is_that_of_the_brokers_data() {
        let root = tempfile::tempdir().unwrap();
        let (open, data) = (root.path().join("proc/7/fd"), root.path().join("data"));
        for directory in [&open, &data.join("a"), &data.join("b")] {
            fs::create_dir_all(directory).unwrap();
        }
        for (number, file) in ["a/.lock", "a/journal", "b/.lock"].iter().enumerate() {
            symlink(data.join(file), open.join(number.to_string())).unwrap();
        }
        let device = fs::metadata(&data).unwrap().dev();
        let report = |name: &str, minor: u32| {
            let number = format!("{}:{}", libc::major(device), libc::minor(device) + minor);
            json!({"headline": name, "drive": {"number": number}}).to_string()
        };
        let headline = || headline(root.path(), 7);
        assert_eq!(headline(), None);
        // One drive is told of once, and the nearer file counts.
        fs::write(data.join(FILE), report("vda: 9 us", 0)).unwrap();
        assert_eq!(headline().as_deref(), Some("vda: 9 us"));
        fs::write(data.join("b").join(FILE), report("vdb: 8 us", 0)).unwrap();
        assert_eq!(headline().as_deref(), Some("vda: 9 us; vdb: 8 us"));
        fs::write(data.join("b").join(FILE), report("vdb: 8 us", 1)).unwrap();
        assert!(headline().unwrap().contains("b/drive.json is of another drive than"), "{:?}", headline());
        for broken in ["", "{", "[]", "{\"headline\": 5}"] {
            fs::write(data.join("b").join(FILE), broken).unwrap();
            assert_eq!(headline().as_deref(), Some("vda: 9 us"), "{broken}");
        }
        assert_eq!(super::headline(root.path(), 8), None);
    }
}
