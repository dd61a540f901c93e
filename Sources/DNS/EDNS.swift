/// What an OPT record says (RFC 6891 §6.1).
package struct EDNS: Hashable, Sendable {
    /// One option: its code and its octets.
    package struct Option: Hashable, Sendable {
        /// The option's number.
        package var code: UInt16
        /// Its data, at most 65,535 octets.
        package var data: [UInt8]

        package init(code: UInt16, data: [UInt8]) {
            self.code = code
            self.data = data
        }
    }

    /// The most octets that the sender takes in a datagram.
    package var payloadSize: UInt16
    /// The version, 0.
    package var version: UInt8 = 0
    /// DO: signatures are wanted (RFC 3225).
    package var dnssecOK: Bool
    /// CO: NXDOMAIN may come with the proof that RFC 9824 makes of it (§4.1).
    package var compactOK = false
    /// The options in their order.
    package var options: [Option]

    /// What we say of ourselves, and the most that we send: it passes unfragmented nearly everywhere.
    package static let defaultPayloadSize: UInt16 = 1232

    package init(payloadSize: UInt16 = defaultPayloadSize, dnssecOK: Bool = false, options: [Option] = []) {
        self.payloadSize = payloadSize
        self.dnssecOK = dnssecOK
        self.options = options
    }

    /// How many octets the OPT record takes.
    package var encodedCount: Int { 11 + options.reduce(0) { $0 + $1.encodedCount } }

    func write(to writer: inout MessageWriter, responseCode: ResponseCode) {
        writer.write(UInt8(0))
        writer.write(RecordType.opt.rawValue)
        writer.write(payloadSize)
        writer.write(UInt8(truncatingIfNeeded: responseCode.rawValue >> 4))
        writer.write(version)
        writer.write(UInt16(dnssecOK ? 0x8000 : 0) | UInt16(compactOK ? 0x4000 : 0))
        writer.write(UInt16(truncatingIfNeeded: encodedCount - 11))
        for option in options {
            writer.write(option.code)
            writer.write(UInt16(truncatingIfNeeded: option.data.count))
            writer.write(option.data)
        }
    }

    /// What `record`, of type OPT, says; `extendedCode` gets the upper eight bits of the response code.
    static func read(_ record: ResourceRecord, extendedCode: inout UInt16) throws(MessageError) -> EDNS {
        guard record.name.isRoot else { throw .badOPT }
        extendedCode = UInt16(record.timeToLive >> 24)
        var edns = EDNS(
            payloadSize: record.class.rawValue,
            dnssecOK: record.timeToLive & 0x8000 != 0
        )
        edns.version = UInt8(truncatingIfNeeded: record.timeToLive >> 16)
        edns.compactOK = record.timeToLive & 0x4000 != 0
        var reader = MessageReader(record.data)
        while !reader.isAtEnd {
            let code = try reader.readInteger16()
            let length = Int(try reader.readInteger16())
            edns.options.append(Option(code: code, data: Array(try reader.readOctets(length))))
        }
        return edns
    }
}

/// An extended error (RFC 8914 §2): a code for programs and a text for people.
package struct ExtendedError: Hashable, Sendable {
    /// The number of the option that carries it.
    package static let optionCode: UInt16 = 15

    /// The reason's number (RFC 8914 §4).
    package var code: UInt16
    /// More for people, in UTF-8.
    package var text: String

    package init(code: UInt16, text: String = "") {
        self.code = code
        self.text = text
    }

    package static let staleAnswerCode: UInt16 = 3
    package static let bogusCode: UInt16 = 6
    package static let signatureExpiredCode: UInt16 = 7
    package static let signatureNotYetValidCode: UInt16 = 8
    package static let keyMissingCode: UInt16 = 9
    package static let signaturesMissingCode: UInt16 = 10
    package static let proofMissingCode: UInt16 = 12
    package static let unsupportedIterationsCode: UInt16 = 27
    package static let staleNameErrorCode: UInt16 = 19
    package static let invalidQueryTypeCode: UInt16 = 30
    package static let filteredCode: UInt16 = 17
    package static let prohibitedCode: UInt16 = 18
    /// All that say that signatures or proofs don't hold.
    package static let bogusCodes: ClosedRange<UInt16> = 6...12
    package static let notReadyCode: UInt16 = 14
    package static let noReachableAuthorityCode: UInt16 = 22
    package static let networkErrorCode: UInt16 = 23

    /// The option; texts over 255 octets are cut.
    package var option: EDNS.Option {
        EDNS.Option(code: Self.optionCode, data: [UInt8](integer: code) + text.utf8.prefix(255))
    }

    /// The extended error that an option carries; nil for another option or a malformed one.
    package init?(_ option: EDNS.Option) {
        guard option.code == Self.optionCode, option.data.count >= 2 else { return nil }
        code = UInt16(option.data[0]) << 8 | UInt16(option.data[1])
        text = String(decoding: option.data.dropFirst(2), as: UTF8.self)
    }
}
