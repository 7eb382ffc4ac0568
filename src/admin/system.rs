//! What the operating system knows of this process and this machine.
//!
//! Nothing here fails: a fact that a system does not tell is shown as unknown, because words must
//! be answered just when something is amiss.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What upstream says where the virtual machine does not know a property, and so do we for all
/// properties of a virtual machine.
const NOT_AVAILABLE: &str = "<NA>";
/// A number that the system does not tell.
const UNKNOWN: i64 = -1;
/// How deep folders of data are searched; the store's go three deep.
const FOLDER_DEPTH_MAX: u32 = 8;

/// How many file descriptors are open, or -1.
pub(super) fn files_open() -> i64 {
    // The folder itself is open while it is read.
    fs::read_dir("/proc/self/fd").map_or(UNKNOWN, |entries| entries.count() as i64 - 1)
}

/// How many file descriptors may be open, or -1.
pub(super) fn files_max() -> i64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    match line.and_then(|line| line.split_whitespace().next()) {
        Some("unlimited") => i64::MAX,
        Some(soft) => soft.parse().unwrap_or(UNKNOWN),
        None => UNKNOWN,
    }
}

/// Bytes of all files in a folder and the folders in it. What vanishes meanwhile counts nothing.
pub(super) fn folder_bytes(folder: &Path) -> u64 {
    folder_bytes_to_depth(folder, FOLDER_DEPTH_MAX)
}

fn folder_bytes_to_depth(folder: &Path, depth: u32) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let bytes_of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() && 0 < depth => {
            folder_bytes_to_depth(&entry.path(), depth - 1)
        }
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) | Err(_) => 0,
    };
    entries.flatten().map(bytes_of).sum()
}

/// What `envi` lists below the version, in its order.
///
/// Source of the keys: ZooKeeper, `Environment.list`.
pub(super) fn environment() -> Vec<(&'static str, String)> {
    let java = |name| (name, NOT_AVAILABLE.to_owned());
    let (user_name, user_home) = user();
    let user_dir = std::env::current_dir()
        .map_or_else(|_| NOT_AVAILABLE.to_owned(), |folder| folder.display().to_string());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let megabytes = |name| megabytes(&memory, name);
    vec![
        ("host.name", kernel("hostname")),
        java("java.version"),
        java("java.vendor"),
        java("java.home"),
        java("java.class.path"),
        java("java.library.path"),
        java("java.io.tmpdir"),
        java("java.compiler"),
        ("os.name", os_name()),
        ("os.arch", os_arch().to_owned()),
        ("os.version", kernel("osrelease")),
        ("user.name", user_name),
        ("user.home", user_home),
        ("user.dir", user_dir),
        ("os.memory.free", megabytes("MemAvailable:")),
        ("os.memory.max", megabytes("MemTotal:")),
        ("os.memory.total", megabytes("MemTotal:")),
    ]
}

/// One of the kernel's own texts.
fn kernel(name: &str) -> String {
    fs::read_to_string(Path::new("/proc/sys/kernel").join(name))
        .map_or_else(|_| NOT_AVAILABLE.to_owned(), |text| text.trim_end().to_owned())
}

/// The system as Java names it.
fn os_name() -> String {
    match std::env::consts::OS {
        "linux" => "Linux".to_owned(),
        "macos" => "Mac OS X".to_owned(),
        other => other.to_owned(),
    }
}

/// The processor as Java names it.
fn os_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        other => other,
    }
}

/// Name and home of the user whose process this is.
fn user() -> (String, String) {
    let id = fs::metadata("/proc/self").map(|metadata| metadata.uid().to_string());
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = id.ok().and_then(|id| {
        fields.into_iter().find_map(|fields| match fields.as_slice() {
            [name, _, user, _, _, home, ..] if *user == id => {
                Some(((*name).to_owned(), (*home).to_owned()))
            }
            _ => None,
        })
    });
    found.unwrap_or_else(|| (NOT_AVAILABLE.to_owned(), NOT_AVAILABLE.to_owned()))
}

/// A line of `/proc/meminfo`, which counts in KiB, as upstream shows memory.
fn megabytes(memory: &str, name: &str) -> String {
    let line = memory.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or_else(|| NOT_AVAILABLE.to_owned(), |kib| format!("{}MB", kib >> 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_folders_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).expect("folders");
        fs::write(folder.path().join("one"), [0; 10]).expect("a file");
        fs::write(inner.join("two"), [0; 7]).expect("a file");
        std::os::unix::fs::symlink(folder.path(), inner.join("round")).expect("a link");

        assert_eq!(folder_bytes(folder.path()), 17);
        assert_eq!(folder_bytes(&folder.path().join("missing")), 0);
    }

    #[test]
    fn open_files_count_and_the_limit_is_above() {
        // Other tests of this process open files as well, so there is only a lower bound.
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/dev/null").expect("opens")).collect();
        assert!(files.len() as i64 <= files_open());
        assert!(files_open() <= files_max());
    }

    #[test]
    fn memory_is_shown_in_megabytes() {
        let memory = "MemTotal:       24683992 kB\nMemAvailable:   20480 kB\n";
        assert_eq!(megabytes(memory, "MemTotal:"), "24105MB");
        assert_eq!(megabytes(memory, "MemAvailable:"), "20MB");
        assert_eq!(megabytes(memory, "MemFree:"), "<NA>");
    }
}
