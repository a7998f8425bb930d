//! The document for users keeps up with the code.

use astromesh::api::Code;

const DOCUMENT: &str = include_str!("../../docs/http-api.md");

#[test]
fn each_error_code_is_in_the_document_with_its_status() {
    for code in Code::ALL {
        let row = format!("| `{}` | {} |", code.name(), code.status().as_u16());
        assert!(DOCUMENT.contains(&row), "docs/http-api.md lacks the row {row}");
    }
}

#[test]
fn each_header_of_ours_is_in_the_document() {
    use astromesh::routing::headers::{
        DEADLINE, EXPLAIN, HOP, IDEMPOTENCY_KEY, LOAD, MUST_QUEUE, NODE, ORCA_LOAD, ORIGIN,
        REFUSED, REPLAYED, REQUEST_ID, SESSION, UNTRACED, WHY,
    };
    for name in [
        REQUEST_ID,
        NODE,
        HOP,
        IDEMPOTENCY_KEY,
        SESSION,
        DEADLINE,
        EXPLAIN,
        WHY,
        REPLAYED,
        ORIGIN,
        LOAD,
        ORCA_LOAD,
        REFUSED,
        MUST_QUEUE,
        UNTRACED,
    ] {
        let row = format!("| `{name}` |");
        assert!(DOCUMENT.contains(&row), "docs/http-api.md lacks the row {row}");
    }
}
