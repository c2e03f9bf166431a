//! `meta.properties`: whose a data directory is. Pure; the shell reads and writes the file.

use super::properties;
use crate::types::BrokerId;

/// The file's name in the data directory.
pub const NODE_PROPERTIES: &str = "meta.properties";
/// Version of the layout of the data directory.
pub const FORMAT: &str = "klamm-1";

/// What identifies a node's data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeProperties {
    /// 22 characters of base64 if we made it; Kafka takes any text, and so do we.
    pub cluster_id: String,
    /// The node that the data belongs to.
    pub node_id: BrokerId,
}

impl NodeProperties {
    /// The file's text.
    pub fn encode(&self) -> String {
        let mut text = String::from("# Klamm\n");
        for (name, value) in self.pairs() {
            text += &format!("{name}={value}\n");
        }
        text
    }

    /// Names and values in the order of the names.
    pub fn pairs(&self) -> [(&'static str, String); 4] {
        [
            ("cluster.id", self.cluster_id.clone()),
            ("format", FORMAT.into()),
            ("node.id", self.node_id.to_string()),
            ("version", "1".into()),
        ]
    }

    /// Reads the file's text. The error says what the directory is instead, and what to do.
    pub fn decode(text: &str) -> Result<NodeProperties, String> {
        let found = properties::parse(text).map_err(|(line, why)| format!("line {line}: {why}"))?;
        let value = |key: &str| found.iter().rev().find(|property| property.key == key).map(|found| found.value.trim());
        match value("format") {
            Some(FORMAT) => {}
            Some(other) => return Err(format!("format {other} is not {FORMAT}, which this version of Klamm reads")),
            None => {
                return Err(
                    "this is a data directory of Apache Kafka or another broker; set log.dirs to an empty one".into()
                );
            }
        }
        let node_id = value("node.id").and_then(|id| id.parse().ok()).ok_or("node.id is missing or no number")?;
        let cluster_id = value("cluster.id").filter(|id| is_cluster_id(id)).ok_or("cluster.id is missing or empty")?;
        Ok(NodeProperties { cluster_id: cluster_id.into(), node_id })
    }

    /// Whether the data belongs to this node. The error text is for the user.
    pub fn check_node(&self, node_id: BrokerId) -> Result<(), String> {
        match self.node_id {
            known if known == node_id => Ok(()),
            known => Err(format!("the directory belongs to node.id={known}, this node is node.id={node_id}")),
        }
    }
}

/// Whether the text can be an id of a cluster: something that a line of the file and a client's log can hold.
pub fn is_cluster_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let node = NodeProperties { cluster_id: "4L6g3nShT-eMCtK--X86sw".into(), node_id: BrokerId(7) };
        assert_eq!(NodeProperties::decode(&node.encode()), Ok(node.clone()));
        assert_eq!(node.check_node(BrokerId(7)), Ok(()));
        assert!(node.check_node(BrokerId(8)).unwrap_err().contains("node.id=7"));
        // As Kafka writes it, with what the next version of ours may add.
        let other = "#\n#Sat Nov 21\nnode.id=7\nformat = klamm-1\ndirectory.id=x\ncluster.id=any text? no\n";
        assert!(NodeProperties::decode(other).unwrap_err().contains("cluster.id"));
        assert_eq!(NodeProperties::decode(&other.replace(" text? no", "")).unwrap().cluster_id, "any");
    }

    #[test]
    fn others_are_told_apart() {
        let decode = |text| NodeProperties::decode(text).unwrap_err();
        assert!(decode("version=1\ncluster.id=x\nnode.id=1\n").contains("Kafka"));
        assert!(decode("format=klamm-9\n").contains("klamm-9"));
        assert!(decode("format=klamm-1\nnode.id=x\ncluster.id=a\n").contains("node.id"));
        assert!(decode("format=klamm-1\nnode.id=1\ncluster.id=\n").contains("cluster.id"));
    }
}
