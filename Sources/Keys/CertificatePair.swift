import Cryptography
import TLS

/// A certificate and the private key that belongs to it.
package struct CertificatePair: Sendable {
    package let certificate: ServedCertificate
    package let key: PrivateKey

    /// Octets of a file with keys.
    package static let maximumKeyOctets = 64 * 1024

    /// What is wrong with files that should be a pair.
    package enum Fault: Error, Equatable {
        /// Of the certificate's file.
        case certificate(String)
        /// Of the file with keys.
        case key(String)
        /// None of the keys is the certificate's.
        case strangers
    }

    /// - Parameters:
    ///   - pem: the server's certificate and the chain behind it.
    ///   - keys: PEM, of which one counts: while a pair is replaced, a file has the old key and the new one.
    ///   - ocsp: a response of the authority's OCSP server, DER; nil for none.
    package init(certificate pem: [UInt8], keys: [UInt8], ocsp: [UInt8]? = nil) throws(Fault) {
        let chain: CertificateChain
        do throws(TLSError) {
            chain = try CertificateChain(pem: pem)
        } catch {
            throw .certificate("\(error)")
        }
        let keys = PrivateKey.all(inPEM: keys)
        guard !keys.isEmpty else { throw .key("it holds no key that can be used without a passphrase") }
        guard let key = keys.first(where: { $0.publicKey?.subjectPublicKeyInfo == chain.subjectPublicKeyInfo }) else {
            throw .strangers
        }
        guard let certificate = ServedCertificate(chain: chain, ocsp: ocsp) else {
            throw .certificate("nothing signs with such a key")
        }
        self.certificate = certificate
        self.key = key
    }
}
