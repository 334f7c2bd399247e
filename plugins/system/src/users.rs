//! Names of users.

use std::collections::HashMap;

/// The users that this machine knows by itself. Those of a directory service are not in `/etc/passwd`, and asking for
/// them could block: they go by their number.
pub(crate) struct Users(HashMap<u32, String>);

impl Users {
    /// Reads `/etc/passwd`, anew for each poll; without it everybody goes by number.
    pub(crate) fn read() -> Self {
        Self::parse(&std::fs::read("/etc/passwd").unwrap_or_default())
    }

    fn parse(passwd: &[u8]) -> Self {
        let mut names = HashMap::new();
        for line in String::from_utf8_lossy(passwd).lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(uid)) = (fields.next(), fields.nth(1))
                && let Ok(uid) = uid.parse()
            {
                // The first name of a number counts, as for getpwuid.
                names.entry(uid).or_insert_with(|| name.to_owned());
            }
        }
        Self(names)
    }

    /// The user's name, else its number.
    pub(crate) fn name(&self, uid: u32) -> String {
        self.0.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_else_the_number() {
        let users = Users::parse(
            b"root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:/bin/sh\n# a comment\n\nbroken:x\n\
            +nis::::::\nj\xf6rg:x:1000:100::/home/joerg:/bin/sh\n",
        );
        assert_eq!(users.name(0), "root");
        assert_eq!(users.name(1000), "j\u{fffd}rg");
        assert_eq!(users.name(100), "100", "that is a group");
        assert_eq!(users.name(65534), "65534");
    }
}
