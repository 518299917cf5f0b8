//! The program `annals`.

fn main() -> std::process::ExitCode {
    annals_cli::App::new().run()
}
