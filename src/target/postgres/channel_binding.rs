//! What binds a login to the TLS connection it runs on: `tls-server-end-point`
//! of RFC 5929, the hash of the server's certificate. Whoever stands in
//! between with a certificate of his own cannot pass the login on.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// RSA with SHA-1, SHA-256, SHA-384, SHA-512 (RFC 8017, pkcs-1 5, 11, 12, 13), without the last number.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];

/// ECDSA with SHA-256, SHA-384, SHA-512 (RFC 5758, 2, 3, 4), without the last number.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];

/// The hash that the certificate's signature uses, SHA-256 in place of SHA-1;
/// `None` where it uses none that is known here.
pub(super) fn of_certificate(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_algorithm(certificate)?;
    let (last, family) = algorithm.split_last()?;
    match (family, last) {
        (RSA, 5 | 11) | (ECDSA, 2) => Some(Sha256::digest(certificate).to_vec()),
        (RSA, 12) | (ECDSA, 3) => Some(Sha384::digest(certificate).to_vec()),
        (RSA, 13) | (ECDSA, 4) => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OBJECT IDENTIFIER, … }, … }
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (content, _) = element(SEQUENCE, certificate)?;
    let (_, rest) = element(SEQUENCE, content)?;
    let (algorithm, _) = element(SEQUENCE, rest)?;
    Some(element(OBJECT_IDENTIFIER, algorithm)?.0)
}

/// The content of a DER element of that type, and what comes after it.
fn element(kind: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // The length of the length.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    (found == kind).then(|| rest.split_at_checked(length))?
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    #[test]
    fn certificates_are_hashed_as_they_are_signed() {
        for (algorithm, length) in [
            (&PKCS_ECDSA_P256_SHA256, Some(32)),
            (&PKCS_ECDSA_P384_SHA384, Some(48)),
            // It has no hash of its own, and RFC 5929 says nothing of it.
            (&PKCS_ED25519, None),
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let certificate = CertificateParams::default().self_signed(&key).unwrap();
            let hash = of_certificate(certificate.der());
            assert_eq!(hash.map(|hash| hash.len()), length, "{algorithm:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_hash() {
        for bytes in [
            &b""[..],
            b"\x30",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x02\x30\x00",
            b"\x30\x80\x30",
        ] {
            assert_eq!(of_certificate(bytes), None, "{bytes:?}");
        }
    }
}
