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
    use astromesh::api::frame::REQUEST_ID;
    use astromesh::routing::headers::{HOP, IDEMPOTENCY_KEY, NODE};
    for name in [REQUEST_ID, HOP, IDEMPOTENCY_KEY, NODE] {
        let row = format!("| `{name}` |");
        assert!(DOCUMENT.contains(&row), "docs/http-api.md lacks the row {row}");
    }
}
