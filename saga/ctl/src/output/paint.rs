//! Colours, where they make sense. No state is told by colour alone.

use std::io::IsTerminal as _;

use clap::ValueEnum;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a word means, for its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// Fine.
    Good,
    /// Look at this.
    Uneasy,
    /// Wrong.
    Bad,
    /// A heading.
    Strong,
    /// By the way.
    Faint,
}

/// Whether colours make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// As chosen, and as standard output can show.
    #[must_use]
    pub fn new(choice: ColorChoice) -> Self {
        match choice {
            ColorChoice::Always => Self(true),
            ColorChoice::Never => Self(false),
            ColorChoice::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
                Self(std::io::stdout().is_terminal() && !refused && !dumb)
            }
        }
    }

    /// No colours.
    #[must_use]
    pub const fn plain() -> Self {
        Self(false)
    }

    /// `text` in the colour of `tone`.
    #[must_use]
    pub fn tint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Uneasy => "33",
            Tone::Bad => "31",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
