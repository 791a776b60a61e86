//! The words of one command among many.
//!
//! clap is told of a command's options when it turns out to be the one that was typed. To put together those of all commands takes
//! longer than everything else that clap does, and nothing else begins before.

use std::ops::Deref;

use clap::builder::Resettable;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Id};

/// What was typed for one command.
#[derive(Debug)]
pub struct Later<T>(Box<T>);

impl<T> Later<T> {
    /// The words themselves.
    pub fn into_inner(self) -> T {
        *self.0
    }
}

impl<T> Deref for Later<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: FromArgMatches> FromArgMatches for Later<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(|words| Later(Box::new(words)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for Later<T> {
    fn group_id() -> Option<Id> {
        T::group_id()
    }

    fn augment_args(command: Command) -> Command {
        command.defer(|command| keeping_about(command, T::augment_args))
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(|command| keeping_about(command, T::augment_args_for_update))
    }
}

/// The command has said already what it is for, and its options have a description of their own.
fn keeping_about(command: Command, augment: fn(Command) -> Command) -> Command {
    let (about, long) = (command.get_about().cloned(), command.get_long_about().cloned());
    augment(command).about(Resettable::from(about)).long_about(Resettable::from(long))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::cli::Cli;

    #[test]
    fn every_command_says_what_it_is_for_and_has_options_of_its_own() {
        Cli::command().debug_assert();
        let mut cli = Cli::command();
        cli.build();
        let commands: Vec<_> = cli.get_subcommands().filter(|command| command.get_name() != "help").collect();
        for command in &commands {
            let about = command.get_about().unwrap().to_string();
            assert!(!about.starts_with('`') && about.len() > 20, "{}: {about}", command.get_name());
            let own = command.get_arguments().filter(|argument| argument.get_id() != "color").count();
            assert!(own > 1 || command.has_subcommands(), "{}: {own}", command.get_name());
        }
    }
}
