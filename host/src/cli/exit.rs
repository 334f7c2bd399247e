//! How the program ends: the codes that scripts may rely on.

/// What was asked for was done. A reader that closes its end of a pipe early is no failure either.
pub(crate) const OK: u8 = 0;
/// It failed, for a reason without a code of its own.
pub(crate) const FAILED: u8 = 1;
/// The command line could not be understood (clap's own code, too).
pub(crate) const USAGE: u8 = 2;
/// No host answered.
pub(crate) const NOT_REACHABLE: u8 = 3;
/// The host answered: it has no such service, method, table, column or type of events.
pub(crate) const NOT_FOUND: u8 = 4;
/// The configuration is invalid.
pub(crate) const CONFIGURATION: u8 = 5;
/// A plugin was refused (`check`, `plugin inspect`, `plugin reload`), or failed a check of the suite (`plugin test`).
pub(crate) const REFUSED: u8 = 6;
/// A new build was taken back on probation (`plugin reload`).
pub(crate) const TAKEN_BACK: u8 = 7;
/// A new build is not in charge yet, and is tried again, or is still being written (`plugin reload`).
pub(crate) const INCONCLUSIVE: u8 = 8;
/// Ended by an interrupt (Ctrl-C).
pub(crate) const INTERRUPTED: u8 = 130;

/// The codes as the end of `--help` lists them.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done (also when a pipe's reader left early)
  1    failed
  2    the command line could not be understood
  3    no host answered
  4    the host has no such service, method, table, column or type of events
  5    the configuration is invalid
  6    a plugin was refused (check, plugin inspect, plugin reload, plugin test)
  7    a new build was taken back on probation (plugin reload)
  8    a new build is not in charge yet: tried again, or still being written (plugin reload)
  130  interrupted";

#[cfg(test)]
mod tests {
    #[test]
    fn the_help_names_every_code() {
        let codes = [
            super::OK,
            super::FAILED,
            super::USAGE,
            super::NOT_REACHABLE,
            super::NOT_FOUND,
            super::CONFIGURATION,
            super::REFUSED,
            super::TAKEN_BACK,
            super::INCONCLUSIVE,
            super::INTERRUPTED,
        ];
        for code in codes {
            assert!(super::HELP.contains(&format!("\n  {code:<5}")), "{code} is missing");
        }
    }
}
