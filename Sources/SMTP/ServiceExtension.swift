/// The service extensions that are known here (RFC 5321 §2.2.2): the one table from which a server's EHLO response, the
/// parameters that it takes and the commands that it knows follow. A server offers a set of them.
package enum ServiceExtension: String, CaseIterable, Sendable {
    /// RFC 2920.
    case pipelining = "PIPELINING"
    /// RFC 1870.
    case size = "SIZE"
    /// RFC 3207.
    case startTLS = "STARTTLS"
    /// RFC 4954.
    case auth = "AUTH"
    /// RFC 6152.
    case eightBitMIME = "8BITMIME"
    /// RFC 2034.
    case enhancedStatusCodes = "ENHANCEDSTATUSCODES"
    /// RFC 3030 §2.
    case chunking = "CHUNKING"
    /// RFC 3030 §3.
    case binaryMIME = "BINARYMIME"
    /// RFC 6531.
    case utf8 = "SMTPUTF8"
    /// RFC 3461.
    case dsn = "DSN"
    /// RFC 9422.
    case limits = "LIMITS"
    /// RFC 8689.
    case requireTLS = "REQUIRETLS"
    /// RFC 2852.
    case deliverBy = "DELIVERBY"
    /// RFC 4865.
    case futureRelease = "FUTURERELEASE"
    /// RFC 6710.
    case priority = "MT-PRIORITY"
    /// RFC 5321 §4.1.1.6.
    case verify = "VRFY"
    /// RFC 5321 §4.1.1.7.
    case expand = "EXPN"
    /// RFC 5321 §4.1.1.8.
    case help = "HELP"
    /// Postfix's, for proxies that are trusted.
    case client = "XCLIENT"
    /// Postfix's, for senders of lists.
    case variableSender = "XVERP"

    /// The extension of this keyword, in any case.
    package init?(keyword: String) {
        self.init(rawValue: String(decoding: keyword.utf8.map(\.asciiUppercased), as: UTF8.self))
    }

    /// What it can't be offered without.
    package var base: ServiceExtension? {
        switch self {
        case .binaryMIME: .chunking
        case .utf8: .eightBitMIME
        case .pipelining, .size, .startTLS, .auth, .eightBitMIME, .enhancedStatusCodes, .chunking, .dsn, .limits,
            .requireTLS, .deliverBy, .futureRelease, .priority, .verify, .expand, .help, .client,
            .variableSender:
            nil
        }
    }

    /// Takes extensions away, and what can't be there without them.
    package static func all(without disabled: Set<ServiceExtension>) -> Set<ServiceExtension> {
        Set(allCases.filter { !disabled.contains($0) && $0.base.map { !disabled.contains($0) } ?? true })
    }
}

/// A parameter of MAIL.
package enum MailParameterName: String, CaseIterable, Sendable {
    case size = "SIZE"
    case body = "BODY"
    case auth = "AUTH"
    case ret = "RET"
    case envelopeID = "ENVID"
    case utf8 = "SMTPUTF8"
    case requireTLS = "REQUIRETLS"
    case deliverBy = "BY"
    case holdFor = "HOLDFOR"
    case holdUntil = "HOLDUNTIL"
    case priority = "MT-PRIORITY"
    case variableSender = "XVERP"

    /// Whose it is.
    package var serviceExtension: ServiceExtension {
        switch self {
        case .size: .size
        case .body: .eightBitMIME
        case .auth: .auth
        case .ret, .envelopeID: .dsn
        case .utf8: .utf8
        case .requireTLS: .requireTLS
        case .deliverBy: .deliverBy
        case .holdFor, .holdUntil: .futureRelease
        case .priority: .priority
        case .variableSender: .variableSender
        }
    }
}

extension MailParameters {
    /// The parameters that are set, with the extensions that they belong to.
    package var used: [(name: String, serviceExtension: ServiceExtension)] {
        MailParameterName.allCases.filter(has).map { name in
            // A value of the parameter that an extension of its own brings.
            if name == .body, body == .binaryMIME { return ("BODY=BINARYMIME", .binaryMIME) }
            return (name.rawValue, name.serviceExtension)
        }
    }

    private func has(_ name: MailParameterName) -> Bool {
        switch name {
        case .size: size != nil
        case .body: body != nil
        case .auth: auth != nil
        case .ret: ret != nil
        case .envelopeID: envelopeID != nil
        case .utf8: isUTF8
        case .requireTLS: requiresTLS
        case .deliverBy: deliverBy != nil
        case .holdFor: if case .interval? = hold { true } else { false }
        case .holdUntil: if case .until? = hold { true } else { false }
        case .priority: priority != nil
        case .variableSender: variableSender != nil
        }
    }
}

extension RecipientParameters {
    /// The parameters that are set, with the extension that they belong to.
    package var used: [(name: String, serviceExtension: ServiceExtension)] {
        (notify == nil ? [] : [("NOTIFY", .dsn)]) + (originalRecipient == nil ? [] : [("ORCPT", .dsn)])
    }
}
