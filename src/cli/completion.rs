//! `klamm completion`: what a shell needs to complete commands and options.

use super::Line;
use super::failure::Result;
use super::output::print;
use clap::CommandFactory;
use clap_complete::Shell;

/// Print the completions for a shell
///
/// bash: source <(klamm completion bash). zsh: klamm completion zsh > a file _klamm in $fpath.
/// fish: klamm completion fish > ~/.config/fish/completions/klamm.fish
#[derive(clap::Args)]
pub struct Arguments {
    shell: Shell,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Line::command(), "klamm", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}
