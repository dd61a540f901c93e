import Cryptography
import TLS

/// A certificate and the private key that belongs to it.
package struct CertificatePair: Sendable {
    package let certificate: ServedCertificate
    package let key: PrivateKey

    /// Octets of a file with keys.
    package static let maximumKeyOctets = 64 * 1024

    /// Of RSA keys, in bits (RFC 9325 §4.5).
    private static let smallestModulus = 2048

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
    package init(certificate pem: [UInt8], keys: [UInt8]) throws(Fault) {
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
        guard let certificate = ServedCertificate(chain: chain) else {
            throw .certificate("nothing signs with such a key")
        }
        if let bits = key.publicKey?.bits, key.kind == .rsa, bits < Self.smallestModulus {
            throw .certificate("its RSA key has \(bits) bits, and clients want \(Self.smallestModulus) at least")
        }
        self.certificate = certificate
        self.key = key
    }
}
