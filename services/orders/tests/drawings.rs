//! The pages of our sagas are drawn from their definitions. `DRAW=write cargo test -p orders --test drawings` draws them
//! anew.

use std::path::Path;
use std::{env, fs};

use orders::sagas::{OrderProcess, Patience, library};
use saga::{Definition, Drawing, render};

fn page(definition: &Definition<OrderProcess>) -> String {
    let id = definition.id();
    let (text, mermaid) = (render(definition, None, Drawing::Text), render(definition, None, Drawing::Mermaid));
    format!(
        "# {id}\n\nDrawn from the definition in `services/orders/src/sagas`, with the default patience; do not edit. After a \
         change:\n`DRAW=write cargo test -p orders --test drawings`. Hash: `{}`.\n\n```mermaid\n{mermaid}```\n\n```text\n{text}```\n",
        id.hash
    )
}

#[test]
fn the_pages_of_our_sagas_are_in_step_with_their_definitions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sagas");
    let library = library(&[Patience::default()]).unwrap();
    for definition in library.definitions() {
        let path = folder.join(format!("{}.md", definition.id().name));
        let drawn = page(definition);
        if env::var("DRAW").is_ok_and(|wish| wish == "write") {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &drawn).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(kept, drawn, "docs/sagas is out of date: DRAW=write cargo test -p orders --test drawings");
    }
}
