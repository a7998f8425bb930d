//! Any bytes as metadata: no panic, and what decodes survives being written again.

use astromesh_wire::limits::{AGENT_NAME_BYTES_MAX, METADATA_BYTES_MAX};
use astromesh_wire::{Agents, Metadata};

/// Decodes the bytes, and what comes out of them once more.
pub fn metadata(bytes: &[u8]) {
    let Some(metadata) = Metadata::decode(bytes) else { return };
    assert!(bytes.len() <= METADATA_BYTES_MAX, "read beyond the limit");
    if let Agents::Listed(names) = &metadata.agents {
        assert!(names.len() <= bytes.len(), "more names than bytes for them");
        assert!(names.iter().all(|name| name.len() <= AGENT_NAME_BYTES_MAX), "overlong name");
    }
    let written = metadata.encode();
    assert!(written.len() <= bytes.len(), "written longer than it was read");
    assert_eq!(Metadata::decode(&written), Some(metadata), "changed on the way");
}
