//! What lies around a plugin's file and decides about it, too: when that changes, the file is looked at anew.

use super::checksum;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What tells whether the checksum file, or the rights of the directories, were changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    checksum: Option<(u64, u64, i64, i64)>,
    directories: Vec<(u32, u32, u32)>,
}

impl Surroundings {
    /// Those of a plugin's file.
    pub(crate) fn of(plugin: &Path) -> Self {
        let about = checksum::beside(plugin).metadata().ok();
        let checksum = about.map(|about| (about.ino(), about.size(), about.ctime(), about.ctime_nsec()));
        let target = plugin.canonicalize().ok();
        let folders = [plugin.parent(), target.as_deref().and_then(Path::parent)];
        let rights = folders.into_iter().flatten().filter_map(|folder| folder.metadata().ok());
        let directories = rights.map(|about| (about.mode(), about.uid(), about.gid())).collect();
        Self { checksum, directories }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{remove_file, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let plugin = folder.path().join("a.so");
        write(&plugin, "").unwrap();
        let mut before = Surroundings::of(&plugin);
        assert_eq!(Surroundings::of(&plugin), before);
        let mut changed = |what: &str| {
            let now = Surroundings::of(&plugin);
            assert_ne!(now, before, "{what}");
            before = now;
        };
        write(checksum::beside(&plugin), "1").unwrap();
        changed("checksum file made");
        write(checksum::beside(&plugin), "22").unwrap();
        changed("checksum file written");
        remove_file(checksum::beside(&plugin)).unwrap();
        changed("checksum file removed");
        set_permissions(folder.path(), PermissionsExt::from_mode(0o757)).unwrap();
        changed("directory's rights");
    }
}
