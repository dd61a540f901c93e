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
    ///
    /// - Parameter resumed: the end point of a session that was resumed, for which no certificate was looked up.
    init(of ssl: OpaquePointer, resumed: [UInt8]? = nil) {
        exporter = Self.exporter(of: ssl)
        serverEndPoint = SSL_get_certificate(ssl).flatMap(Self.endPoint) ?? resumed
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
