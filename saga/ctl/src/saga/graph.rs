//! `sagactl saga graph`: a saga's definition with its progress.

use clap::{Args, ValueEnum};

use crate::drawing::{Picture, dot, mermaid, svg, text};
use crate::failure::Failure;
use crate::session::Session;

use super::find;

/// What to draw, and how.
#[derive(Args, Debug)]
pub struct Graph {
    /// A saga's id, or its order's.
    pub id: String,
    /// How it is drawn.
    #[arg(long, value_enum, default_value_t)]
    pub format: Style,
}

/// How it is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// For a terminal.
    #[default]
    Text,
    /// A Mermaid flowchart, for pages.
    Mermaid,
    /// For Graphviz.
    Dot,
    /// A picture.
    Svg,
}

impl Style {
    /// Draws it.
    #[must_use]
    pub fn draw(self, picture: &Picture) -> String {
        match self {
            Self::Text => text::draw(picture),
            Self::Mermaid => mermaid::draw(picture),
            Self::Dot => dot::draw(picture),
            Self::Svg => svg::draw(picture),
        }
    }
}

/// Asks and draws.
///
/// # Errors
/// [`Failure`] of the server; [`Failure::Failed`] when it does not know the saga's definition.
pub async fn command(graph: Graph, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let answer = find(&server, &graph.id).await?;
    let picture = Picture::of_saga(&answer).ok_or_else(|| {
        let saga = answer.saga.clone().unwrap_or_default();
        let (definition, version) = (saga.definition, saga.definition_version);
        Failure::Failed(format!(
            "the server has no definition {definition}@{version} any more: there is nothing to draw"
        ))
    })?;
    session.out.line(graph.format.draw(&picture))
}
