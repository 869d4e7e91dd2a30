//! `sagactl`: operators see, understand, preview and repair sagas.
//!
//! A client of the services' gRPC, and nothing else: it opens no database and no connection to the broker, so what it
//! may do is what the server lets it do. Whatever changes something is a plan first, and a job in the server afterwards.
//!
//! * [`cli`]: what can be typed; [`session`]: what every command has at hand;
//! * [`saga`]: see and understand; [`act`], [`op`]: preview, then act;
//! * [`event`], [`timer`], [`dlq`], [`hold`], [`definition`], [`machinery`], [`top`]: what sagas run on;
//! * [`replay`], [`reconcile`]: history folded again, and what no saga explains;
//! * [`drawing`]: sagas as pictures; [`output`]: tables, JSON, YAML, colours;
//! * [`context`], [`connection`]: whom we talk to; [`clock`]: since when; [`status`], [`failure`]: what went wrong, and the exit code;
//! * [`manual`]: cheat sheet, completions, man pages, version.
//!
//! Deliberately absent: rules. What an act would do, and whether it may, the server says.

pub mod act;
pub mod cli;
pub mod clock;
pub mod connection;
pub mod context;
pub mod context_command;
pub mod definition;
pub mod dlq;
pub mod drawing;
pub mod event;
pub mod failure;
pub mod hold;
pub mod machinery;
pub mod manual;
pub mod op;
pub mod output;
pub mod projection_check;
pub mod reconcile;
pub mod replay;
pub mod saga;
pub mod session;
pub mod status;
pub mod timer;
pub mod top;
