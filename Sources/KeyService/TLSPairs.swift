import Cryptography
import Daemon
import Files
import Keys
import TLS

#if canImport(Glibc)
import Glibc
#endif

/// Certificates with their keys, as the configuration names them. A pair that is half written, or wrong, isn't taken: the one before
/// it stays.
struct TLSPairs: Sendable {
    private struct Stamps: Equatable {
        var certificate: KeyFile.Stamp?
        var privateKey: KeyFile.Stamp?
        var ocsp: KeyFile.Stamp?
    }

    private struct Pair {
        let name: String
        let certificate: KeyFile
        let privateKey: KeyFile
        let ocsp: KeyFile
        var stamps: Stamps?
        var taken: (served: ServedCertificate, key: PrivateKey)?
        /// What the log says of it.
        var trouble: String?
        /// What is to be stapled while it holds.
        var response: OCSPResponse?
        /// What the log says of that.
        var responseTrouble: String?
    }

    private var pairs: [Pair]

    /// - Parameter file: a file by its path.
    init(_ settings: [TLSConfiguration.Pair], file: (String) -> KeyFile) {
        pairs = settings.map {
            Pair(
                name: $0.name,
                certificate: file($0.certificate),
                privateKey: file($0.privateKey),
                ocsp: file($0.ocsp)
            )
        }
    }

    /// What is served, in the order of the configuration.
    var certificates: [ServedCertificate] { pairs.compactMap(\.taken?.served) }

    var keys: [KeyName: PrivateKey] {
        Dictionary(pairs.compactMap(\.taken).map { ($0.served.key, $0.key) }) { first, _ in first }
    }

    /// Reads what has changed.
    ///
    /// - Parameters:
    ///   - all: also what hasn't.
    ///   - moment: now, in seconds since 1970.
    mutating func look(_ files: any FileSystem, all: Bool = false, at moment: Int = time(nil)) -> [KeyEvent] {
        var events: [KeyEvent] = []
        for index in pairs.indices {
            events += look(&pairs[index], files, again: all, moment)
            if let event = staple(&pairs[index], moment) { events.append(event) }
        }
        return events
    }

    private func look(_ pair: inout Pair, _ files: any FileSystem, again: Bool, _ moment: Int) -> [KeyEvent] {
        // Looked at before they are read: what changes in between is seen the next time.
        let stamps = Stamps(
            certificate: pair.certificate.stamp(files),
            privateKey: pair.privateKey.stamp(files),
            ocsp: pair.ocsp.stamp(files)
        )
        guard again || stamps != pair.stamps else { return [] }
        pair.stamps = stamps
        var events: [KeyEvent] = []
        do throws(TLSError) {
            var (served, key) = try Self.read(pair, files)
            served.pair = pair.name
            let wait = served.chain.begins - moment
            // The one before serves until then; without one, it's more likely that the clock is wrong.
            if wait > 0, let taken = pair.taken, taken.served.chain != served.chain {
                throw .configuration("certificate \(pair.certificate.path): \(Self.beginning(in: wait))")
            }
            let isNew = served.chain != pair.taken?.served.chain
            pair.taken = (served, key)
            if isNew || pair.trouble != nil {
                pair.trouble = nil
                events.append(
                    KeyEvent(isTrouble: false, text: "certificate for \(pair.name) read", path: pair.certificate.path)
                )
                if wait > 0 {
                    events.append(
                        KeyEvent(isTrouble: true, text: Self.beginning(in: wait), path: pair.certificate.path)
                    )
                }
            }
        } catch {
            // What couldn't be read just now can be the next time.
            pair.stamps = nil
            guard pair.trouble != error.description else { return [] }
            pair.trouble = error.description
            let rest = pair.taken == nil ? "there is none for \(pair.name)" : "the one before stays"
            return [KeyEvent(isTrouble: true, text: "\(error); \(rest)", path: pair.certificate.path)]
        }
        if let event = readResponse(&pair, hasOCSP: stamps.ocsp != nil, files) { events.append(event) }
        return events
    }

    private static func beginning(in seconds: Int) -> String {
        "its time begins in \((seconds + 3599) / 3600) hours only: is the clock right?"
    }

    /// Clients without a response ask the authority themselves, and those with a wrong one go: it's no reason to keep the certificate
    /// back.
    private func readResponse(_ pair: inout Pair, hasOCSP: Bool, _ files: any FileSystem) -> KeyEvent? {
        guard hasOCSP, let chain = pair.taken?.served.chain else {
            (pair.response, pair.responseTrouble) = (nil, nil)
            return nil
        }
        do throws(TLSError) {
            let octets = try Self.contents(pair.ocsp, files, maximum: ServedCertificate.maximumOCSP)
            do throws(OCSPResponse.Fault) {
                pair.response = try OCSPResponse(octets, for: chain)
                return nil
            } catch {
                throw .configuration(error.description)
            }
        } catch {
            pair.response = nil
            return Self.refusal(error.description, of: &pair)
        }
    }

    /// Staples a response that holds now, and takes one away whose time is over.
    private func staple(_ pair: inout Pair, _ moment: Int) -> KeyEvent? {
        guard pair.taken != nil else { return nil }
        guard let response = pair.response else {
            pair.taken?.served.ocsp = nil
            return nil
        }
        if let fault = response.fault(at: moment) {
            pair.taken?.served.ocsp = nil
            return Self.refusal(fault.description, of: &pair)
        }
        pair.taken?.served.ocsp = response.octets
        pair.responseTrouble = nil
        return nil
    }

    private static func refusal(_ reason: String, of pair: inout Pair) -> KeyEvent? {
        guard pair.responseTrouble != reason else { return nil }
        pair.responseTrouble = reason
        return KeyEvent(isTrouble: true, text: "OCSP response isn't stapled: \(reason)", path: pair.ocsp.path)
    }

    private static func read(
        _ pair: Pair,
        _ files: any FileSystem
    ) throws(TLSError) -> (ServedCertificate, PrivateKey) {
        let octets: (certificate: [UInt8], keys: [UInt8])
        do throws(TLSError) {
            octets.certificate = try contents(pair.certificate, files, maximum: CertificateChain.maximumOctets)
        } catch {
            throw .configuration("certificate \(pair.certificate.path): \(error)")
        }
        do throws(TLSError) {
            octets.keys = try contents(pair.privateKey, files, maximum: CertificatePair.maximumKeyOctets)
        } catch {
            throw .configuration("private key \(pair.privateKey.path): \(error)")
        }
        do throws(CertificatePair.Fault) {
            let read = try CertificatePair(certificate: octets.certificate, keys: octets.keys)
            return (read.certificate, read.key)
        } catch {
            switch error {
            case .certificate(let reason): throw .configuration("certificate \(pair.certificate.path): \(reason)")
            case .key(let reason): throw .configuration("private key \(pair.privateKey.path): \(reason)")
            case .strangers:
                throw .configuration(
                    "private key \(pair.privateKey.path) does not belong to certificate \(pair.certificate.path)"
                )
            }
        }
    }

    private static func contents(
        _ file: KeyFile,
        _ files: any FileSystem,
        maximum: Int
    ) throws(TLSError) -> [UInt8] {
        do throws(FileError) {
            return try file.contents(files, maximum: maximum)
        } catch {
            throw .configuration(error.description)
        }
    }
}
