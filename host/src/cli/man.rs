//! `busway man`: the manual's pages.

use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use super::cell::count_of_things;
use super::client::reason;
use super::failure::Failure;
use super::output::Output;

/// Write the manual: a page for each command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway man ~/.local/share/man/man1 && man busway-datasource-add")]
pub(crate) struct ManArguments {
    /// Where to; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Writes the pages.
pub(crate) fn run(arguments: &ManArguments, program: Command, output: &mut Output) -> Result<(), Failure> {
    let directory = &arguments.directory;
    let pages = pages(program);
    let fault = |path: &Path, error: &std::io::Error| Failure::File { path: path.to_owned(), why: reason(error) };
    std::fs::create_dir_all(directory).map_err(|error| fault(directory, &error))?;
    for (name, page) in &pages {
        let path = directory.join(name);
        std::fs::write(&path, page).map_err(|error| fault(&path, &error))?;
    }
    output.line(&format!("{} in {}", count_of_things(pages.len(), "page"), directory.display()))
}

/// The pages by their files' names.
fn pages(program: Command) -> Vec<(String, Vec<u8>)> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add(&program, "busway", &mut pages);
    pages
}

fn add(command: &Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    for under in command.get_subcommands().filter(|under| !under.is_hide_set()) {
        add(under, &format!("{name}-{}", under.get_name()), pages);
    }
    // A page's name is the whole command's.
    let page = Man::new(command.clone().display_name(name.to_owned())).title(name.to_owned());
    let page = page.manual("Busway").source(concat!("busway ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    // Writing to memory does not fail.
    if page.render(&mut text).is_ok() {
        pages.push((format!("{name}.1"), text));
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::Format;
    use super::super::output::tests::pages as output;
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_command_has_its_page() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("man1");
        let (mut output, data, _) = output(Format::Table, None);
        let program = super::super::Program::command();
        run(&ManArguments { directory: directory.clone() }, program.clone(), &mut output).unwrap();
        fn count(command: &Command) -> usize {
            1 + command.get_subcommands().map(count).sum::<usize>()
        }
        let all = std::fs::read_dir(&directory).unwrap().count();
        assert_eq!(all, count(&program));
        assert_eq!(data.text(), format!("{all} pages in {}\n", directory.display()));
        let page = std::fs::read_to_string(directory.join("busway-datasource-add.1")).unwrap();
        for part in [
            ".TH busway-datasource-add 1",
            "busway\\-datasource\\-add \\- Add a datasource; it runs at once",
            "\\-\\-option",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
