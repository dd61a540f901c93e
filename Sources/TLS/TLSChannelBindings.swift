import COpenSSL

/// What both ends of a TLS connection know of it and nobody in between can have.
package struct TLSChannelBindings: Equatable, Sendable {
    /// `tls-exporter` (RFC 9266): nil where the connection can't give it safely (TLS 1.2 without RFC 7627).
    package let exporter: [UInt8]?
    /// `tls-server-end-point` (RFC 5929 §4): nil for a certificate whose signature names no hash function.
    package let serverEndPoint: [UInt8]?

    package init(exporter: [UInt8]? = nil, serverEndPoint: [UInt8]? = nil) {
        self.exporter = exporter
        self.serverEndPoint = serverEndPoint
    }

    /// Those of a server's side whose handshake is complete.
    init(of ssl: OpaquePointer) {
        exporter = Self.exporter(of: ssl)
        serverEndPoint =
            SSL_session_reused(ssl) == 1 ? Self.kept(in: ssl) : SSL_get_certificate(ssl).flatMap(Self.endPoint)
    }

    /// Puts the end point into the ticket: a client that resumes has the certificate of the first handshake, which may have been
    /// replaced since.
    static let keepEndPoint: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = { ssl, _ in
        guard let ssl, SSL_session_reused(ssl) == 0, let session = SSL_get_session(ssl) else { return 1 }
        guard let endPoint = SSL_get_certificate(ssl).flatMap(endPoint) else { return 1 }
        return SSL_SESSION_set1_ticket_appdata(session, endPoint, endPoint.count)
    }

    private static func kept(in ssl: OpaquePointer) -> [UInt8]? {
        var octets: UnsafeMutableRawPointer?
        var count = 0
        guard let session = SSL_get_session(ssl), SSL_SESSION_get0_ticket_appdata(session, &octets, &count) == 1,
            let octets, count > 0
        else { return nil }
        return Array(UnsafeRawBufferPointer(start: octets, count: count))
    }

    private static func exporter(of ssl: OpaquePointer) -> [UInt8]? {
        guard COpenSSL_has_extended_master_secret(ssl) == 1 else { return nil }
        var secret = [UInt8](repeating: 0, count: 32)
        let label = "EXPORTER-Channel-Binding"
        guard SSL_export_keying_material(ssl, &secret, secret.count, label, label.utf8.count, nil, 0, 1) == 1 else {
            ERR_clear_error()
            return nil
        }
        return secret
    }

    /// The hash function is that of the certificate's signature, but SHA-256 for MD5 and SHA-1.
    static func endPoint(of certificate: OpaquePointer) -> [UInt8]? {
        var function: Int32 = NID_undef
        guard X509_get_signature_info(certificate, &function, nil, nil, nil) == 1, function != NID_undef else {
            ERR_clear_error()
            return nil
        }
        if function == NID_md5 || function == NID_sha1 { function = NID_sha256 }
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        guard let algorithm = OBJ_nid2sn(function).flatMap(EVP_get_digestbyname),
            X509_digest(certificate, algorithm, &digest, &length) == 1
        else {
            ERR_clear_error()
            return nil
        }
        return Array(digest.prefix(Int(length)))
    }
}
