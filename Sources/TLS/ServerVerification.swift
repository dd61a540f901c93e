import COpenSSL

/// A TLSA record, as far as TLS compares it with certificates (RFC 6698 §2.1).
package struct DANERecord: Hashable, Sendable {
    /// PKIX-TA 0, PKIX-EE 1, DANE-TA 2, DANE-EE 3 (RFC 7218).
    package let usage: UInt8
    /// The certificate 0, its public key 1.
    package let selector: UInt8
    /// Itself 0, its SHA-256 1, its SHA-512 2.
    package let matching: UInt8
    package let data: [UInt8]

    package init(usage: UInt8, selector: UInt8, matching: UInt8, data: [UInt8]) {
        self.usage = usage
        self.selector = selector
        self.matching = matching
        self.data = data
    }

    /// The most octets of a record that are looked at.
    private static let maximumOctets = 16 * 1024

    /// Whether mail can be protected by it: usages 2 and 3 alone count (RFC 7672 §3.1.3), and what is to be compared must be a
    /// whole digest, certificate or key.
    package var isUsable: Bool {
        guard usage == 2 || usage == 3, selector <= 1, data.count <= Self.maximumOctets else { return false }
        switch matching {
        case 0: return isWhole
        case 1: return data.count == 32
        case 2: return data.count == 64
        default: return false
        }
    }

    private var isWhole: Bool {
        defer { ERR_clear_error() }
        return data.withUnsafeBufferPointer { octets in
            guard let start = octets.baseAddress else { return false }
            var position: UnsafePointer<UInt8>? = start
            if selector == 0 {
                guard let certificate = d2i_X509(nil, &position, octets.count) else { return false }
                X509_free(certificate)
            } else {
                guard let key = d2i_PUBKEY(nil, &position, octets.count) else { return false }
                EVP_PKEY_free(key)
            }
            return position == start + octets.count
        }
    }
}

/// What a server must show to a client before anything is sent to it.
package enum ServerVerification: Hashable, Sendable {
    /// As the context says: where that verifies, a chain to its authorities and the name that was asked for.
    case asContext
    /// Nothing (RFC 7435).
    case nothing
    /// A chain that leads to one of the context's authorities, and one of the names among its DNS names. One that begins with a dot
    /// stands for all names below it. Without names none matches; of `alsoNames`, where there are any, one must be there, too.
    /// Where it isn't required, `TLSInfo` says what is wrong.
    case authorities(names: [String], isRequired: Bool = true, alsoNames: [String] = [])
    /// A certificate or public key of which this is the SHA-256. Names, dates and issuers don't matter.
    case fingerprints([[UInt8]])
    /// What one of the records describes (RFC 7672 §3.1): for usage 2 with one of the names, of which the first is asked for in the
    /// handshake.
    case dane(records: [DANERecord], names: [String])
}

/// How a server has shown that it's the one that was meant.
package enum ServerProof: Hashable, Sendable {
    /// By a chain to an authority, and its name.
    case authorities
    case fingerprint
    /// By a chain to what a TLSA record of usage 2 describes, and its name.
    case daneTrustAnchor
    /// By what a TLSA record of usage 3 describes.
    case daneEndEntity
}

/// What is wrong with what a server has shown.
package enum CertificateFault: Hashable, Sendable {
    case hostMismatch
    /// Its time is over, or hasn't come.
    case expired
    /// Its chain leads to no authority that is trusted.
    case notTrusted
    /// None of the TLSA records describes it.
    case recordMismatch
    /// It's another one than was named.
    case fingerprintMismatch
    case other

    /// - Parameter verdict: of `SSL_get_verify_result`.
    init(verdict: Int) {
        switch verdict {
        case Int(X509_V_ERR_HOSTNAME_MISMATCH), Int(X509_V_ERR_IP_ADDRESS_MISMATCH): self = .hostMismatch
        case Int(X509_V_ERR_CERT_HAS_EXPIRED), Int(X509_V_ERR_CERT_NOT_YET_VALID): self = .expired
        case Int(X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT), Int(X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN),
            Int(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT), Int(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY),
            Int(X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE), Int(X509_V_ERR_CERT_UNTRUSTED):
            self = .notTrusted
        case Int(X509_V_ERR_DANE_NO_MATCH): self = .recordMismatch
        default: self = .other
        }
    }
}

extension ServerVerification {
    /// Sets a client's side up before its handshake.
    ///
    /// - Throws: where it can't be verified in this way: nothing may be sent then.
    func prepare(_ ssl: OpaquePointer, serverName: String?) throws(TLSError) {
        switch self {
        case .asContext: Self.name(ssl, serverName, isVerified: true)
        case .nothing, .fingerprints:
            SSL_set_verify(ssl, SSL_VERIFY_NONE, nil)
            Self.name(ssl, serverName, isVerified: false)
        case .authorities(let names, let isRequired, _):
            guard !names.isEmpty else { throw .configuration("there is no name to verify a certificate by") }
            if isRequired { SSL_set_verify(ssl, SSL_VERIFY_PEER, nil) } else { COpenSSL_observe_certificate(ssl) }
            // The names of a certificate are its alternative names alone (RFC 8461 §4.1, RFC 6125 §6.4.4).
            SSL_set_hostflags(ssl, Self.nameFlags)
            Self.name(ssl, serverName, isVerified: false)
            for name in names {
                guard SSL_add1_host(ssl, name) == 1 else { throw .configuration(TLSError.lastReason()) }
            }
        case .dane(let records, let names):
            guard let base = names.first, SSL_dane_enable(ssl, base) > 0 else {
                throw .configuration(TLSError.lastReason())
            }
            SSL_set_verify(ssl, SSL_VERIFY_PEER, nil)
            SSL_set_hostflags(ssl, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
            // Neither names nor dates of such a certificate matter (RFC 7672 §3.1.1).
            _ = SSL_dane_set_flags(ssl, COpenSSL_no_end_entity_names())
            for name in names.dropFirst() {
                guard SSL_add1_host(ssl, name) == 1 else { throw .configuration(TLSError.lastReason()) }
            }
            var usable = 0
            for record in records where record.isUsable {
                let added = record.data.withUnsafeBufferPointer {
                    SSL_dane_tlsa_add(ssl, record.usage, record.selector, record.matching, $0.baseAddress, $0.count)
                }
                if added > 0 { usable += 1 }
            }
            ERR_clear_error()
            guard usable > 0 else { throw .configuration("none of the TLSA records can be used") }
        }
    }

    private static let nameFlags =
        UInt32(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT) | UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS)

    private static func name(_ ssl: OpaquePointer, _ name: String?, isVerified: Bool) {
        guard let name else { return }
        // A server that is known by its address only must have a certificate for that (RFC 8310 §8.1).
        if isVerified, X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1 { return }
        _ = COpenSSL_set_server_name(ssl, name)
        if isVerified { _ = SSL_set1_host(ssl, name) }
    }

    /// What is wrong with the certificate of a server, where OpenSSL doesn't look at that itself; nil for nothing.
    func mismatch(_ ssl: OpaquePointer) -> CertificateFault? {
        switch self {
        case .fingerprints(let known):
            guard let certificate = SSL_get1_peer_certificate(ssl) else { return .fingerprintMismatch }
            defer { X509_free(certificate) }
            let isKnown =
                known.contains(CertificateChain.fingerprint(of: certificate))
                || known.contains(CertificateChain.keyFingerprint(of: certificate))
            return isKnown ? nil : .fingerprintMismatch
        case .authorities(_, isRequired: true, let alsoNames) where !alsoNames.isEmpty:
            guard let certificate = SSL_get1_peer_certificate(ssl) else { return .hostMismatch }
            defer { X509_free(certificate) }
            let isNamed = alsoNames.contains { name in
                X509_check_host(certificate, name, name.utf8.count, Self.nameFlags, nil) == 1
            }
            return isNamed ? nil : .hostMismatch
        case .asContext, .nothing, .authorities, .dane: return nil
        }
    }

    /// What was found wrong with the certificate of a server that passed nevertheless.
    func fault(_ ssl: OpaquePointer) -> CertificateFault? {
        guard case .authorities = self else { return nil }
        let verdict = SSL_get_verify_result(ssl)
        return verdict == Int(X509_V_OK) ? nil : CertificateFault(verdict: verdict)
    }

    /// How a server that passes has shown that it's the one that was meant; nil where it hasn't. Not of a session that was resumed,
    /// where nothing is shown.
    func proof(_ ssl: OpaquePointer) -> ServerProof? {
        switch self {
        case .nothing, .asContext: return nil
        case .authorities: return fault(ssl) == nil ? .authorities : nil
        case .fingerprints: return .fingerprint
        case .dane:
            var usage: UInt8 = 0
            guard SSL_get0_dane_tlsa(ssl, &usage, nil, nil, nil, nil) >= 0 else { return nil }
            return usage == 3 ? .daneEndEntity : .daneTrustAnchor
        }
    }
}
