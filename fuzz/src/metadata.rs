//! Any bytes as metadata: no panic, and what decodes survives being written again.

use astromesh_wire::limits::{AGENT_NAME_BYTES_MAX, METADATA_BYTES_MAX};
use astromesh_wire::{Agents, Metadata};

/// Decodes the bytes, and what comes out of them once more.
pub fn metadata(bytes: &[u8]) {
    let Some(metadata) = Metadata::decode(bytes) else { return };
    assert!(bytes.len() <= METADATA_BYTES_MAX, "read beyond the limit");
    if let Agents::Listed(agents) = &metadata.agents {
        assert!(agents.len() <= bytes.len(), "more agents than bytes for them");
        let mut names = agents.iter().map(|agent| agent.name.as_str());
        assert!(names.all(|name| name.len() <= AGENT_NAME_BYTES_MAX), "overlong name");
    }
    let written = metadata.encode();
    assert!(written.len() <= bytes.len(), "written longer than it was read");
    assert_eq!(Metadata::decode(&written), Some(metadata), "changed on the way");
}
