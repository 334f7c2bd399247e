//! The `busway` program.

fn main() -> std::process::ExitCode {
    busway::cli::main()
}
