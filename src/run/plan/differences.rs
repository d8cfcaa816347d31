//! What one plan does otherwise than another, in words.

use std::collections::{BTreeMap, BTreeSet};

use super::{Plan, PlanNode};

impl Plan {
    /// What another plan does otherwise, in words; nothing where it does the same by the same indexes.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (own, theirs) = (self.parts(), other.parts());
        let mut words = Vec::new();
        let none = Vec::new();
        let subjects: BTreeSet<&Subject> = own.keys().chain(theirs.keys()).collect();
        for subject in subjects {
            let before = own.get(subject).unwrap_or(&none);
            let after = theirs.get(subject).unwrap_or(&none);
            subject.compare(before, after, &mut words);
        }
        if words.is_empty() && self.shape != other.shape {
            words.push("the same nodes are in another order".to_owned());
        }
        words
    }

    /// What is done, by what it is done to or for.
    fn parts(&self) -> BTreeMap<Subject, Vec<String>> {
        let mut parts: BTreeMap<Subject, Vec<String>> = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            if let Some(subject) = Subject::of(node) {
                parts.entry(subject).or_default().push(self.action(at));
            }
        }
        parts
    }

    /// `Index Scan using users_username`; a bitmap is known by the indexes that it is made of.
    fn action(&self, at: usize) -> String {
        let node = &self.nodes[at];
        let below = self.nodes[at + 1..].iter().take_while(|below| below.depth > node.depth);
        let bitmap = node.node.contains("Bitmap Heap Scan");
        let indexes: Vec<&str> = std::iter::once(node)
            .chain(below.filter(|below| bitmap && below.node.starts_with("Bitmap")))
            .filter_map(|node| node.index.as_deref())
            .collect();
        if indexes.is_empty() {
            node.node.clone()
        } else {
            format!("{} using {}", node.node, indexes.join(" and "))
        }
    }
}

/// What parts of two plans are compared by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// How a relation is read or changed.
    Relation(String),
    /// How rows are joined.
    Join,
    /// How groups are made.
    Groups,
    /// How rows are put in order.
    Order,
    /// Nodes of another type.
    Other(String),
}

impl Subject {
    /// `None` for what is part of another node.
    fn of(node: &PlanNode) -> Option<Self> {
        let name = node.node.as_str();
        if let Some(relation) = &node.relation {
            return Some(Self::Relation(relation.clone()));
        }
        Some(match name {
            "Hash" | "Parallel Hash" | "Bitmap Index Scan" | "BitmapAnd" | "BitmapOr" => return None,
            _ if name.ends_with("Join") || name.contains("Nested Loop") => Self::Join,
            _ if name.ends_with("Aggregate") => Self::Groups,
            "Sort" | "Incremental Sort" => Self::Order,
            _ => Self::Other(name.to_owned()),
        })
    }

    /// Puts into words what is in only one of the two: first what became something else, then what came or went.
    fn compare(&self, before: &[String], after: &[String], words: &mut Vec<String>) {
        let (gone, come) = (without(before, after), without(after, before));
        let on = match self {
            Self::Relation(relation) => format!(" on {relation}"),
            _ => String::new(),
        };
        let changed = gone.iter().zip(&come);
        words.extend(changed.map(|(was, is)| format!("{was}{on} became {is}")));
        let left = |all: &[String], what: &str| -> Vec<String> {
            let rest = all.iter().skip(gone.len().min(come.len()));
            rest.map(|name| format!("{} {name}{on} is {what}", article(name)))
                .collect()
        };
        words.extend(left(&gone, "gone"));
        words.extend(left(&come, "new"));
    }
}

/// Those of `all` that have no match among `others`.
fn without(all: &[String], others: &[String]) -> Vec<String> {
    let mut others = others.to_vec();
    let unmatched = |name: &&String| match others.iter().position(|other| other == *name) {
        Some(at) => {
            others.swap_remove(at);
            false
        }
        None => true,
    };
    all.iter().filter(unmatched).cloned().collect()
}

fn article(name: &str) -> &'static str {
    if name.starts_with(['A', 'E', 'I', 'O']) {
        "an"
    } else {
        "a"
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{plan, sorted_scan};

    #[test]
    fn differences_are_told_in_words() {
        let by_index = plan(&[(0, "Index Scan", "users", "users_username")]);
        assert_eq!(
            sorted_scan().differences(&by_index),
            [
                "Seq Scan on users became Index Scan using users_username",
                "a Sort is gone"
            ]
        );
        assert_eq!(
            by_index.differences(&sorted_scan()),
            [
                "Index Scan using users_username on users became Seq Scan",
                "a Sort is new"
            ]
        );
        assert!(sorted_scan().differences(&sorted_scan()).is_empty());
    }

    #[test]
    fn joins_bitmaps_and_indexes_are_told_apart() {
        let hash = plan(&[
            (0, "Hash Join", "", ""),
            (1, "Seq Scan", "emissions", ""),
            (1, "Hash", "", ""),
            (2, "Seq Scan", "facilities", ""),
        ]);
        let nested = plan(&[
            (0, "Nested Loop", "", ""),
            (1, "Bitmap Heap Scan", "facilities", ""),
            (2, "BitmapOr", "", ""),
            (3, "Bitmap Index Scan", "", "a"),
            (3, "Bitmap Index Scan", "", "b"),
            (1, "Index Scan", "emissions", "c"),
        ]);
        assert_eq!(
            hash.differences(&nested),
            [
                "Seq Scan on emissions became Index Scan using c",
                "Seq Scan on facilities became Bitmap Heap Scan using a and b",
                "Hash Join became Nested Loop",
            ]
        );
        let turned = plan(&[
            (0, "Hash Join", "", ""),
            (1, "Seq Scan", "facilities", ""),
            (1, "Hash", "", ""),
            (2, "Seq Scan", "emissions", ""),
        ]);
        assert_eq!(hash.differences(&turned), ["the same nodes are in another order"]);
    }
}
