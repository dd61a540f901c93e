import COpenSSL
import Synchronization

/// The kinds of key that DNSSEC (RFC 8624) and DKIM (RFC 8301, 8463) sign with.
package enum KeyKind: Sendable, Hashable {
    case rsa, ecdsaP256, ecdsaP384, ed25519, ed448

    /// The length of one number of an ECDSA point or signature, in octets; nil for other kinds.
    var coordinateWidth: Int? {
        switch self {
        case .ecdsaP256: 32
        case .ecdsaP384: 48
        case .rsa, .ed25519, .ed448: nil
        }
    }

    /// The AlgorithmIdentifier of a key of this kind (RFC 3279, 5480, 8410).
    var identifier: [UInt8] {
        switch self {
        case .rsa: [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]
        case .ecdsaP256:
            [
                0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
                0x3d, 0x03, 0x01, 0x07,
            ]
        case .ecdsaP384:
            [
                0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
                0x22,
            ]
        case .ed25519: [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70]
        case .ed448: [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x71]
        }
    }
}

/// A key that signatures are verified with.
///
/// Making one costs a few microseconds (a point is decompressed or checked); keep it for the signatures of one key.
package final class PublicKey: @unchecked Sendable {
    // Unchecked: OpenSSL's key is not changed after init.
    package let kind: KeyKind
    let key: OpaquePointer
    /// What verifies signatures by RSA over hashes of these functions: OpenSSL's contexts, which are only ever copied. As numbers,
    /// since a pointer doesn't leave a lock.
    private let verifiers = Mutex<[HashFunction: UInt]>([:])

    init?(kind: KeyKind, adopting key: OpaquePointer?) {
        guard let key else { return nil }
        self.kind = kind
        self.key = key
    }

    deinit {
        verifiers.withLock { $0.values.forEach { EVP_PKEY_CTX_free(OpaquePointer(bitPattern: $0)) } }
        EVP_PKEY_free(key)
    }

    /// An RSA key from its modulus and exponent, most significant octet first. Nil if it is no usable key: a modulus of
    /// more than 4096 bits or an exponent of more than 8 octets costs too much time to verify with.
    package convenience init?(rsaModulus modulus: some Sequence<UInt8>, exponent: some Sequence<UInt8>) {
        let modulus = Array(Array(modulus).drop { $0 == 0 })
        let exponent = Array(Array(exponent).drop { $0 == 0 })
        guard (64...512).contains(modulus.count), (1...8).contains(exponent.count) else { return nil }
        self.init(kind: .rsa, adopting: PublicKey.rsa(DER.sequence(DER.integer(modulus), DER.integer(exponent))))
    }

    /// A key of another kind from its raw octets: an ECDSA point as x and y without the leading 4 (RFC 6605), or an
    /// EdDSA key (RFC 8080). Nil if it is no such key.
    package convenience init?(_ kind: KeyKind, raw octets: some Sequence<UInt8>) {
        let octets = Array(octets)
        let key: OpaquePointer? =
            switch kind {
            case .rsa: nil
            case .ecdsaP256: PublicKey.point([4] + octets, on: "P-256")
            case .ecdsaP384: PublicKey.point([4] + octets, on: "P-384")
            case .ed25519: EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, octets, octets.count)
            case .ed448: EVP_PKEY_new_raw_public_key(EVP_PKEY_ED448, nil, octets, octets.count)
            }
        if key == nil { ERR_clear_error() }
        self.init(kind: kind, adopting: key)
    }

    /// A key from a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), in DER. Nil if it is none of the kinds known.
    ///
    /// OpenSSL tries all its decoders for one, which takes ten times as long as what the kind is known of.
    package convenience init?(subjectPublicKeyInfo octets: [UInt8]) {
        let key = octets.withUnsafeBufferPointer { buffer in
            PublicKey.whole(buffer) { d2i_PUBKEY(nil, &$0, buffer.count) }
        }
        guard let key else { return nil }
        guard let kind = KeyKind(key) else {
            EVP_PKEY_free(key)
            return nil
        }
        self.init(kind: kind, adopting: key)
    }

    /// The modulus and the exponent of an RSA key, most significant octet first, from an RSAPublicKey (RFC 8017 appendix
    /// A.1.1) or a SubjectPublicKeyInfo of one, in DER. Nil if it is neither.
    package static func rsaNumbers(of octets: [UInt8]) -> (modulus: [UInt8], exponent: [UInt8])? {
        var rest = octets[...]
        guard let body = DER.take(0x30, from: &rest), rest.isEmpty else { return nil }
        var numbers = body
        if body.first == 0x30 {
            var information = body
            guard let identifier = DER.take(0x30, from: &information),
                identifier.starts(with: KeyKind.rsa.identifier[2..<13]),
                var bits = DER.take(0x03, from: &information), information.isEmpty, bits.popFirst() == 0,
                let key = DER.take(0x30, from: &bits), bits.isEmpty
            else { return nil }
            numbers = key
        }
        guard let modulus = DER.take(0x02, from: &numbers), let exponent = DER.take(0x02, from: &numbers),
            numbers.isEmpty
        else { return nil }
        return (Array(modulus.drop { $0 == 0 }), Array(exponent.drop { $0 == 0 }))
    }

    /// An RSA key from an RSAPublicKey, in DER.
    private static func rsa(_ octets: [UInt8]) -> OpaquePointer? {
        octets.withUnsafeBufferPointer { buffer in
            whole(buffer) { d2i_PublicKey(EVP_PKEY_RSA, nil, &$0, buffer.count) }
        }
    }

    /// What is decoded from octets; nil where that isn't all of them.
    private static func whole(
        _ octets: UnsafeBufferPointer<UInt8>,
        _ decode: (inout UnsafePointer<UInt8>?) -> OpaquePointer?
    ) -> OpaquePointer? {
        var position = octets.baseAddress
        guard let key = decode(&position) else {
            ERR_clear_error()
            return nil
        }
        guard position == octets.baseAddress.map({ $0 + octets.count }) else {
            EVP_PKEY_free(key)
            return nil
        }
        return key
    }

    /// An ECDSA key from its point, uncompressed; nil where that isn't on the curve.
    private static func point(_ octets: [UInt8], on curve: String) -> OpaquePointer? {
        var (curve, octets) = (Array(curve.utf8CString), octets)
        return COpenSSL_point(&curve, &octets, octets.count)
    }

    /// The size in bits: of the modulus, or of the curve.
    package var bits: Int { Int(EVP_PKEY_get_bits(key)) }

    /// The key as SubjectPublicKeyInfo, in DER.
    package var subjectPublicKeyInfo: [UInt8] {
        var start: UnsafeMutablePointer<UInt8>?
        let count = i2d_PUBKEY(key, &start)
        defer { COpenSSL_free(start) }
        guard let start, count > 0 else { return [] }
        return Array(UnsafeBufferPointer(start: start, count: Int(count)))
    }

    /// The bits of the key without their wrapping: an RSAPublicKey in DER, x and y of a point, or an EdDSA key.
    package var raw: [UInt8] {
        var rest = subjectPublicKeyInfo[...]
        guard var body = DER.take(0x30, from: &rest), DER.take(0x30, from: &body) != nil,
            let bits = DER.take(0x03, from: &body)
        else { return [] }
        return Array(bits.dropFirst(kind.coordinateWidth == nil ? 1 : 2))
    }

    /// Modulus and exponent of an RSA key, most significant octet first; nil for other kinds.
    package var rsaNumbers: (modulus: [UInt8], exponent: [UInt8])? {
        kind == .rsa ? PublicKey.rsaNumbers(of: raw) : nil
    }

    /// Whether a signature over a message is this key's. RSA is PKCS #1 v1.5 (RFC 8017 section 8.2) or, where so said, PSS
    /// with a salt as long as the hash (section 8.1); ECDSA is two numbers side by side (RFC 6605 section 4). EdDSA hashes
    /// by itself and takes no hash function.
    package func isValid(
        signature: [UInt8],
        of message: [UInt8],
        using function: HashFunction?,
        isPSS: Bool = false
    ) -> Bool {
        if kind == .rsa, !isPSS, let function { return isValidRSA(signature, function.digest(of: message), function) }
        var signature = signature
        if let width = kind.coordinateWidth {
            guard signature.count == 2 * width else { return false }
            signature = DER.sequence(DER.integer(signature.prefix(width)), DER.integer(signature.suffix(width)))
        }
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        var keyContext: OpaquePointer?
        guard EVP_DigestVerifyInit(context, &keyContext, function?.algorithm, nil, key) == 1,
            !isPSS
                || EVP_PKEY_CTX_set_rsa_padding(keyContext, RSA_PKCS1_PSS_PADDING) == 1
                    && EVP_PKEY_CTX_set_rsa_pss_saltlen(keyContext, RSA_PSS_SALTLEN_DIGEST) == 1
        else {
            ERR_clear_error()
            return false
        }
        let result = EVP_DigestVerify(context, signature, signature.count, message, message.count)
        if result != 1 { ERR_clear_error() }
        return result == 1
    }
}

extension PublicKey {
    /// To be freed, or kept.
    private static func verifier(_ key: OpaquePointer, _ function: HashFunction) -> OpaquePointer? {
        guard let context = EVP_PKEY_CTX_new(key, nil) else { return nil }
        guard EVP_PKEY_verify_init(context) == 1, EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1,
            EVP_PKEY_CTX_set_signature_md(context, function.algorithm) == 1
        else {
            EVP_PKEY_CTX_free(context)
            return nil
        }
        return context
    }

    /// RFC 8017 section 8.2. To make a verifier takes OpenSSL 3 a third of the time that a signature takes, and a copy of one
    /// next to nothing.
    private func isValidRSA(_ signature: [UInt8], _ digest: [UInt8], _ function: HashFunction) -> Bool {
        let copy = verifiers.withLock { verifiers in
            if verifiers[function] == nil {
                verifiers[function] = Self.verifier(key, function).map { UInt(bitPattern: $0) }
            }
            let kept = verifiers[function].flatMap { OpaquePointer(bitPattern: $0) }
            return UInt(bitPattern: kept.flatMap { EVP_PKEY_CTX_dup($0) })
        }
        guard let context = OpaquePointer(bitPattern: copy) else {
            ERR_clear_error()
            return false
        }
        defer { EVP_PKEY_CTX_free(context) }
        let result = EVP_PKEY_verify(context, signature, signature.count, digest, digest.count)
        if result != 1 { ERR_clear_error() }
        return result == 1
    }
}

extension KeyKind {
    init?(_ key: OpaquePointer) {
        switch EVP_PKEY_get_base_id(key) {
        case EVP_PKEY_RSA: self = .rsa
        case EVP_PKEY_ED25519: self = .ed25519
        case EVP_PKEY_ED448: self = .ed448
        case EVP_PKEY_EC:
            var name = [CChar](repeating: 0, count: 64)
            guard EVP_PKEY_get_group_name(key, &name, name.count, nil) == 1 else { return nil }
            switch String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) {
            case "prime256v1": self = .ecdsaP256
            case "secp384r1": self = .ecdsaP384
            default: return nil
            }
        default: return nil
        }
    }
}
