//! The file descriptors of this process, and their limit.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most descriptors that this process may have open; `u64::MAX` without a limit.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit as far as the system allows without privileges. Returns the limit then.
pub fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // macOS refuses "unlimited": then the limit stays as it is
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    limit()
}

/// The number of open descriptors, where the system has a directory of them.
pub fn open() -> Option<u64> {
    let entries = ["/proc/self/fd", "/dev/fd"].into_iter().find_map(|directory| fs::read_dir(directory).ok())?;
    // the directory itself is open while it is read
    Some((entries.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_counted() {
        let before = open().unwrap();
        let files: Vec<fs::File> = (0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        // other tests of this process open and close files meanwhile
        assert!(open().unwrap() + 50 >= before + 100);
        drop(files);
        assert!(limit() > before);
    }
}
