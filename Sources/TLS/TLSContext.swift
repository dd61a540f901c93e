import COpenSSL
import CTLSKeys

#if canImport(Glibc)
import Glibc
#endif

/// Why a TLS context could not be made, or a TLS connection not be used.
package enum TLSError: Error, Equatable, CustomStringConvertible {
    /// A certificate, key or setting could not be loaded; the text names the file and OpenSSL's reason.
    case configuration(String)
    /// The handshake or a record failed; OpenSSL's reason.
    case protocolFailure(String)
    /// Nobody has signed for a server, or found a certificate; the text says why.
    case keys(String)
    /// The server's certificate isn't what it has to be; OpenSSL's reason.
    case certificate(CertificateFault, String)
    /// The peer closed the connection without close_notify or in the middle of the handshake.
    case unexpectedEnd

    package var description: String {
        switch self {
        case .configuration(let text): return text
        case .protocolFailure(let text), .certificate(_, let text): return "TLS: \(text)"
        case .keys(let text): return "TLS: no signature: \(text)"
        case .unexpectedEnd: return "TLS: connection closed during the handshake"
        }
    }

    /// Why a file could not be loaded: the system's reason where it can't be read, else OpenSSL's first one, which says
    /// most; the error queue of this thread is emptied.
    static func reason(loading file: String) -> String {
        let code = ERR_peek_error()
        ERR_clear_error()
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return String(cString: strerror(errno)) }
        close(descriptor)
        guard let text = ERR_reason_error_string(code) else { return "OpenSSL can't load it" }
        switch String(cString: text) {
        case "no start line", "unsupported": return "it holds nothing in PEM format that belongs there"
        case "key values mismatch": return "it does not belong to the certificate"
        case "interrupted or cancelled", "problems getting password", "bad password read":
            return "it is encrypted; the key is needed without a passphrase"
        case let reason: return reason
        }
    }

    /// The newest entry of OpenSSL's error queue of this thread; the queue is emptied.
    static func lastReason() -> String {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        guard code != 0 else { return "unknown error" }
        var text = [CChar](repeating: 0, count: 256)
        ERR_error_string_n(code, &text, text.count)
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// The minimum TLS version.
package enum TLSVersion: String, Sendable, CaseIterable {
    case v12 = "1.2"
    case v13 = "1.3"

    var code: Int32 {
        switch self {
        case .v12: return TLS1_2_VERSION
        case .v13: return TLS1_3_VERSION
        }
    }
}

/// Keys and settings that many TLS connections share: an `SSL_CTX`, complete before the first connection uses it.
package final class TLSContext: @unchecked Sendable {
    // Unchecked: SSL_CTX counts its references atomically and is not changed after init.
    let context: OpaquePointer
    let isServer: Bool
    /// Who signs for a server; nil where the key is here, and for clients.
    let keys: (any TLSKeys)?
    /// What a server chooses from; belongs to the context's callback.
    private let choice: UnsafeMutablePointer<COpenSSL_protocols>

    private init(
        _ method: OpaquePointer?,
        isServer: Bool,
        minimum: TLSVersion,
        keys: (any TLSKeys)? = nil
    ) throws(TLSError) {
        guard let context = SSL_CTX_new(method) else { throw .configuration(TLSError.lastReason()) }
        self.context = context
        self.isServer = isServer
        self.keys = keys
        choice = .allocate(capacity: 1)
        choice.initialize(to: COpenSSL_protocols())
        _ = COpenSSL_set_min_proto_version(context, minimum.code)
        _ = COpenSSL_set_mode(context, Int(SSL_MODE_RELEASE_BUFFERS) | Int(SSL_MODE_ENABLE_PARTIAL_WRITE))
        SSL_CTX_set_options(context, COpenSSL_no_compression() | COpenSSL_no_renegotiation())
    }

    /// A server's context without a private key: certificates and signatures are somebody else's.
    ///
    /// - Throws: `TLSError.configuration` where a setting can't be had.
    package convenience init(server keys: any TLSKeys, _ settings: TLSServerSettings) throws(TLSError) {
        try self.init(TLS_server_method(), isServer: true, minimum: settings.minimum, keys: keys)
        ERR_clear_error()
        guard SSL_CTX_set_cipher_list(context, Self.servable(settings.ciphers)) == 1 else {
            throw .configuration("ciphers \(settings.ciphers): \(TLSError.lastReason())")
        }
        guard CTLSKeys_set_signatures(context, Self.signatures, Self.clientSignatures) == 1 else {
            throw .configuration(TLSError.lastReason())
        }
        SSL_CTX_set_options(context, COpenSSL_server_order())
        _ = COpenSSL_session_cache_mode(context, Int(SSL_SESS_CACHE_OFF))
        let name = Array("martlet".utf8)
        _ = SSL_CTX_set_session_id_context(context, name, UInt32(name.count))
        CTLSKeys_use(context)
        CTLSKeys_tickets_use(context, keys.tickets.tickets)
        _ = SSL_CTX_set_session_ticket_cb(context, TLSChannelBindings.keepEndPoint, nil, nil)
        if settings.ticketLifetime > 0 {
            SSL_CTX_set_timeout(context, settings.ticketLifetime)
        } else {
            resumeNothing()
        }
        try negotiate(settings.protocols)
        if let authorities = settings.clientAuthorities { try askForCertificates(of: authorities) }
    }

    /// What keys elsewhere sign by, the preferred first.
    static let signatures =
        "ECDSA+SHA256:ECDSA+SHA384:ed25519:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512"
        + ":RSA+SHA256:RSA+SHA384:RSA+SHA512"
    /// What clients with certificates of their own may sign by.
    private static let clientSignatures =
        signatures + ":ECDSA+SHA512:ed448:rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512"

    private func resumeNothing() {
        SSL_CTX_set_options(context, COpenSSL_no_tickets())
        _ = SSL_CTX_set_num_tickets(context, 0)
    }

    private func negotiate(_ protocols: [String]) throws(TLSError) {
        guard !protocols.isEmpty else { return }
        let list = try Self.list(protocols)
        withUnsafeMutableBytes(of: &choice.pointee.list) { $0.copyBytes(from: list) }
        choice.pointee.length = UInt32(list.count)
        COpenSSL_select_from(context, choice)
    }

    /// A server's context with its certificate chain and private key (PEM files, read now).
    ///
    /// - Parameter protocols: the application protocols, the preferred one first, for clients that negotiate by ALPN
    ///   (RFC 7301); one that offers none of them is refused. Where empty, offers are ignored.
    ///   - clientAuthorities: a PEM file (read now) with the authorities whose certificates clients are asked for; nil for not
    ///   asking. A client without a certificate, or with another one, is served all the same: `TLSInfo` says what it has.
    /// - Throws: `TLSError.configuration` when a file cannot be read or key and certificate do not belong together.
    package convenience init(
        serverCertificate certificate: String,
        privateKey: String,
        minimum: TLSVersion = .v12,
        protocols: [String] = [],
        clientAuthorities: String? = nil
    ) throws(TLSError) {
        try self.init(TLS_server_method(), isServer: true, minimum: minimum)
        // Tickets hold all that a resumption needs; a cache in the process would only cost memory.
        _ = COpenSSL_session_cache_mode(context, Int(SSL_SESS_CACHE_OFF))
        ERR_clear_error()
        guard SSL_CTX_use_certificate_chain_file(context, certificate) == 1 else {
            throw .configuration("certificate \(certificate): \(TLSError.reason(loading: certificate))")
        }
        // Nobody is there to type a passphrase.
        SSL_CTX_set_default_passwd_cb(context) { (_, _, _, _) in -1 }
        guard SSL_CTX_use_PrivateKey_file(context, privateKey, SSL_FILETYPE_PEM) == 1 else {
            throw .configuration("private key \(privateKey): \(TLSError.reason(loading: privateKey))")
        }
        guard SSL_CTX_check_private_key(context) == 1 else {
            throw .configuration("private key \(privateKey) does not belong to certificate \(certificate)")
        }
        try negotiate(protocols)
        if let clientAuthorities { try askForCertificates(of: clientAuthorities) }
    }

    /// The suites of TLS 1.2 with forward secrecy and authenticated encryption, in OpenSSL's words; those of TLS 1.3 all have both.
    package static let standardCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20"

    /// Without a private key there is nobody to decrypt what RSA's key exchange encrypts.
    private static func servable(_ ciphers: String) -> String { "\(ciphers):!kRSA:!aNULL:!eNULL:!PSK:!SRP" }

    /// Whether servers can have any of the suites of TLS 1.2.
    package static func areCiphers(_ text: String) -> Bool {
        guard let context = SSL_CTX_new(TLS_server_method()) else { return false }
        defer {
            SSL_CTX_free(context)
            ERR_clear_error()
        }
        return SSL_CTX_set_cipher_list(context, servable(text)) == 1
    }

    private func askForCertificates(of authorities: String) throws(TLSError) {
        guard SSL_CTX_load_verify_locations(context, authorities, nil) == 1,
            let names = SSL_load_client_CA_file(authorities)
        else {
            let reason = TLSError.reason(loading: authorities)
            throw .configuration("certificates of authorities \(authorities): \(reason)")
        }
        SSL_CTX_set_client_CA_list(context, names)
        COpenSSL_ask_for_certificate(context)
        // What anybody sends is bounded: certificates of people have a few kilobytes and short chains.
        SSL_CTX_set_verify_depth(context, 8)
        _ = COpenSSL_set_maximum_chain(context, 32 * 1024)
        // No sessions are resumed: one would bring a certificate back that has expired since, or whose authority is trusted no more.
        resumeNothing()
        // OpenSSL wants a name where clients are asked for certificates.
        let name = Array("martlet".utf8)
        _ = SSL_CTX_set_session_id_context(context, name, UInt32(name.count))
    }

    /// A client's context. Opportunistic TLS (RFC 7435) does not verify; where `verifying` is set, the chain must lead to
    /// a trust anchor and name the server.
    ///
    /// - Parameters:
    ///   - authorities: a PEM file with the trust anchors (read now); the system's where nil.
    ///   - protocols: what is offered by ALPN (RFC 7301), the preferred one first.
    ///   - signatures: what the server may sign by, in OpenSSL's words: which of its certificates it shows; nil for all.
    package convenience init(
        clientVerifying verifying: Bool,
        authorities: String? = nil,
        minimum: TLSVersion = .v12,
        protocols: [String] = [],
        signatures: String? = nil
    ) throws(TLSError) {
        try self.init(TLS_client_method(), isServer: false, minimum: minimum)
        if let signatures, CTLSKeys_set_signatures(context, signatures, Self.clientSignatures) != 1 {
            throw .configuration(TLSError.lastReason())
        }
        // Who resumes has a `TLSResumption`.
        _ = COpenSSL_session_cache_mode(context, Int(SSL_SESS_CACHE_CLIENT) | Int(SSL_SESS_CACHE_NO_INTERNAL))
        SSL_CTX_sess_set_new_cb(context, TLSHandler.keepSession)
        guard SSL_CTX_dane_enable(context) > 0 else { throw .configuration(TLSError.lastReason()) }
        if verifying {
            ERR_clear_error()
            if let authorities {
                guard SSL_CTX_load_verify_locations(context, authorities, nil) == 1 else {
                    let reason = TLSError.reason(loading: authorities)
                    throw .configuration("certificates of authorities \(authorities): \(reason)")
                }
            } else {
                try loadSystemAuthorities()
            }
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        }
        if !protocols.isEmpty {
            let list = try Self.list(protocols)
            guard SSL_CTX_set_alpn_protos(context, list, UInt32(list.count)) == 0 else {
                throw .configuration(TLSError.lastReason())
            }
        }
    }

    /// Where systems have all their authorities in one file.
    private static let bundles = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
    ]

    /// Loads the system's trust anchors as a whole. OpenSSL's default may be a directory in which it looks when it needs
    /// one, and by then a daemon can't reach it any more.
    private func loadSystemAuthorities() throws(TLSError) {
        guard SSL_CTX_set_default_verify_paths(context) == 1 else { throw .configuration(TLSError.lastReason()) }
        for bundle in Self.bundles where COpenSSL_authority_count(context) == 0 {
            _ = SSL_CTX_load_verify_locations(context, bundle, nil)
        }
        ERR_clear_error()
        guard COpenSSL_authority_count(context) > 0 else {
            throw .configuration("the system has no file with certificates of authorities")
        }
    }

    /// Names of protocols, each behind its length (RFC 7301 §3.1).
    private static func list(_ protocols: [String]) throws(TLSError) -> [UInt8] {
        let list = protocols.flatMap { [UInt8(clamping: $0.utf8.count)] + Array($0.utf8) }
        guard list.count <= 255, protocols.allSatisfy({ !$0.isEmpty }) else {
            throw .configuration("the names of protocols are too long")
        }
        return list
    }

    deinit {
        SSL_CTX_free(context)
        choice.deallocate()
    }
}

/// What was agreed on for a TLS connection.
package struct TLSInfo: Sendable, Equatable {
    /// As OpenSSL names it: `TLSv1.3`.
    package let version: String
    /// The cipher suite's name.
    package let cipher: String
    /// The application protocol negotiated by ALPN (RFC 7301), such as `h2`; nil where the client offered none.
    package let applicationProtocol: String?
    /// SHA-256 of the certificate that a server has shown; nil where we are the server.
    package let serverFingerprint: [UInt8]?
    /// A client's side: how the server has shown all that it had to, by `ServerVerification`; nil where that was nothing.
    package let serverProof: ServerProof?
    /// A client's side: what is wrong with the server's certificate, where that was only to be looked at.
    package let certificateFault: CertificateFault?
    /// An earlier session was resumed (RFC 8446 §2.2).
    package let isResumed: Bool
    /// A server's side: by what the client recognises that nobody sits in between.
    package let channelBindings: TLSChannelBindings
    /// A server's side: the certificate that the client has shown and the chain behind it, in DER, where it leads to one of the
    /// authorities that were asked for. Otherwise empty.
    package let clientCertificates: [[UInt8]]

    package init(
        version: String,
        cipher: String,
        applicationProtocol: String? = nil,
        serverFingerprint: [UInt8]? = nil,
        serverProof: ServerProof? = nil,
        certificateFault: CertificateFault? = nil,
        isResumed: Bool = false,
        channelBindings: TLSChannelBindings = TLSChannelBindings(),
        clientCertificates: [[UInt8]] = []
    ) {
        self.version = version
        self.cipher = cipher
        self.applicationProtocol = applicationProtocol
        self.serverFingerprint = serverFingerprint
        self.serverProof = serverProof
        self.certificateFault = certificateFault
        self.isResumed = isResumed
        self.channelBindings = channelBindings
        self.clientCertificates = clientCertificates
    }
}
