//! A changed migration is a changed program: `sqlx::migrate!` reads the folder when this crate is compiled.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/eventstore");
}
