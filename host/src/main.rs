//! The `busway` program.

fn main() -> std::process::ExitCode {
    busway::child_main_if_asked();
    busway::cli::main()
}
