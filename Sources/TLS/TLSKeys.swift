import COpenSSL
import CTLSKeys
import NIOCore

/// Who has private keys and the certificates for them: another process, so this one's handshakes wait for it.
package protocol TLSKeys: Sendable {
    /// What session tickets are encrypted with.
    var tickets: TLSTickets { get }

    /// The certificates for a client that calls the server so, one for each kind of key, the preferred one first.
    ///
    /// - Parameter loop: the result's.
    /// - Returns: fails with `TLSError` where there are none in time.
    func certificates(for serverName: String?, on loop: any EventLoop) -> EventLoopFuture<[ShownCertificate]>

    /// The signature of what a handshake asks for.
    ///
    /// - Parameter loop: the result's.
    /// - Returns: fails with `TLSError` where there is none in time.
    func sign(_ request: TLSSignatureRequest, on loop: any EventLoop) -> EventLoopFuture<[UInt8]>
}

/// What is to be signed for a handshake.
package struct TLSSignatureRequest: Equatable, Sendable {
    /// The name of the key, as `ShownCertificate` has it.
    package let key: String
    /// RFC 8446 §4.2.3.
    package let scheme: UInt16
    /// What is signed: RFC 8446 §4.4.3, RFC 8422 §5.4, RFC 5246 §7.4.8.
    package let octets: [UInt8]
}

/// A certificate with its chain, ready for handshakes, and the name of its key.
package final class ShownCertificate: @unchecked Sendable {
    // Unchecked: OpenSSL counts references atomically, and nothing is changed after init.
    private let certificate: OpaquePointer
    private let others: OpaquePointer
    private let key: OpaquePointer

    /// - Parameters:
    ///   - key: the name by which signatures are asked for, 63 octets at most.
    ///   - ocsp: a response of the authority's OCSP server (RFC 6960, DER); nil for none.
    /// - Throws: `TLSError.configuration` where OpenSSL can't use them.
    package init(_ chain: CertificateChain, key name: String, ocsp: [UInt8]?) throws(TLSError) {
        ERR_clear_error()
        guard let first = chain.certificates.first.flatMap(CertificateChain.decoded), let others = COpenSSL_new_chain()
        else {
            throw .configuration(TLSError.lastReason())
        }
        certificate = first
        self.others = others
        let information = chain.subjectPublicKeyInfo
        guard name.utf8.count < Int(CTLSKEYS_MAXIMUM_NAME),
            let key = CTLSKeys_key(name, information, information.count)
        else {
            X509_free(first)
            COpenSSL_free_chain(others)
            throw .configuration("OpenSSL can't use the certificate's key: \(TLSError.lastReason())")
        }
        self.key = key
        for octets in chain.certificates.dropFirst() {
            guard let other = CertificateChain.decoded(octets) else { continue }
            if COpenSSL_chain_push(others, other) <= 0 { X509_free(other) }
        }
        if let ocsp { _ = CTLSKeys_staple(certificate, ocsp, ocsp.count) }
    }

    deinit {
        X509_free(certificate)
        COpenSSL_free_chain(others)
        EVP_PKEY_free(key)
    }

    /// Shows it in a handshake, beside others with other kinds of key.
    ///
    /// - Returns: false where OpenSSL refuses.
    func show(in ssl: OpaquePointer) -> Bool { SSL_use_cert_and_key(ssl, certificate, key, others, 1) == 1 }

    /// `tls-server-end-point` of a connection with it.
    package var endPoint: [UInt8]? { TLSChannelBindings.endPoint(of: certificate) }
}

/// What a client shows to a server that asks for a certificate (RFC 8446 §4.4.2), and who signs for it.
package struct TLSIdentity: Sendable {
    package let certificate: ShownCertificate
    package let keys: any TLSKeys

    package init(_ certificate: ShownCertificate, keys: any TLSKeys) {
        self.certificate = certificate
        self.keys = keys
    }
}

/// The keys that tickets are encrypted with (RFC 5077 §4); others at any time. Until there are some it has one that nobody else
/// knows.
package final class TLSTickets: @unchecked Sendable {
    // Unchecked: the keys are behind a lock of their own.
    let tickets: OpaquePointer?

    /// Octets of a key: 16 of its name, 32 for HMAC, 32 for AES.
    package static let keyOctets = 80

    package init() { tickets = CTLSKeys_tickets_new() }

    deinit { CTLSKeys_tickets_free(tickets) }

    /// - Parameter keys: the one for new tickets first. None changes nothing.
    package func use(_ keys: [[UInt8]]) {
        let octets = keys.filter { $0.count == Self.keyOctets }.flatMap(\.self)
        CTLSKeys_tickets_set(tickets, octets, octets.count / Self.keyOctets)
    }
}

/// How a server speaks TLS.
package struct TLSServerSettings: Sendable {
    package var minimum = TLSVersion.v12
    /// Suites of TLS 1.2, in OpenSSL's words.
    package var ciphers = TLSContext.standardCiphers
    /// How long a session may be resumed, in seconds; 0 for not at all.
    package var ticketLifetime = 12 * 3600
    /// What clients may negotiate by ALPN, the preferred one first; where empty, ALPN is ignored.
    package var protocols: [String] = []
    /// A PEM file with the authorities whose certificates clients are asked for; nil for not asking.
    package var clientAuthorities: String?

    package init() {}
}
