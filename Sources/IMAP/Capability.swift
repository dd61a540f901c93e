/// What a server can say that it offers (RFC 3501 §7.2.1). The one list of all that is announced, and when: `Command.needs`
/// names what a command uses, so that what isn't offered isn't understood either.
package enum Capability: String, Sendable, Hashable, CaseIterable {
    case imap4rev1 = "IMAP4rev1"
    /// RFC 9051
    case imap4rev2 = "IMAP4rev2"
    /// RFC 7888; never together with the next one.
    case literalPlus = "LITERAL+"
    case literalMinus = "LITERAL-"
    /// RFC 2971
    case id = "ID"
    /// RFC 5161
    case enable = "ENABLE"
    /// RFC 4959
    case saslIR = "SASL-IR"
    case startTLS = "STARTTLS"
    case loginDisabled = "LOGINDISABLED"

    /// RFC 2177
    case idle = "IDLE"
    /// RFC 2342
    case namespace = "NAMESPACE"
    /// RFC 3691
    case unselect = "UNSELECT"
    /// RFC 4315
    case uidPlus = "UIDPLUS"
    /// RFC 3348
    case children = "CHILDREN"
    /// RFC 6851
    case move = "MOVE"
    /// RFC 4978
    case compress = "COMPRESS=DEFLATE"
    /// RFC 6855
    case utf8 = "UTF8=ACCEPT"
    /// RFC 9586
    case uidOnly = "UIDONLY"
    /// RFC 8437
    case unauthenticate = "UNAUTHENTICATE"
    /// RFC 9738; announced with the limit, where there is one.
    case messageLimit = "MESSAGELIMIT"
    /// RFC 5255 §4.3
    case i18nLevel1 = "I18NLEVEL=1"
    /// RFC 9585
    case inProgress = "INPROGRESS"

    /// RFC 5258
    case listExtended = "LIST-EXTENDED"
    /// RFC 5819
    case listStatus = "LIST-STATUS"
    /// RFC 6154
    case specialUse = "SPECIAL-USE"
    case createSpecialUse = "CREATE-SPECIAL-USE"
    /// RFC 8438
    case statusSize = "STATUS=SIZE"
    /// RFC 7889; announced with the limit.
    case appendLimit = "APPENDLIMIT"
    /// RFC 9208
    case quota = "QUOTA"
    case quotaStorage = "QUOTA=RES-STORAGE"

    /// RFC 4314, where folders are shared: rights beyond those of RFC 2086 in the second.
    case acl = "ACL"
    case rights = "RIGHTS=kxte"
    /// RFC 8440
    case listMyRights = "LIST-MYRIGHTS"
    /// RFC 5464; the second where the first one is cut: the server's annotations alone.
    case metadata = "METADATA"
    case metadataServer = "METADATA-SERVER"
    /// RFC 9590
    case listMetadata = "LIST-METADATA"

    /// RFC 4731
    case eSearch = "ESEARCH"
    /// RFC 5182
    case searchRes = "SEARCHRES"
    /// RFC 5032
    case within = "WITHIN"
    /// RFC 9394
    case partial = "PARTIAL"
    /// RFC 5256
    case sort = "SORT"
    /// RFC 5957
    case sortDisplay = "SORT=DISPLAY"
    /// RFC 5267
    case eSort = "ESORT"
    /// RFC 5256
    case threadOrderedSubject = "THREAD=ORDEREDSUBJECT"
    case threadReferences = "THREAD=REFERENCES"
    case threadRefs = "THREAD=REFS"
    /// RFC 6203
    case searchFuzzy = "SEARCH=FUZZY"
    /// RFC 7377
    case multiSearch = "MULTISEARCH"

    /// RFC 3516
    case binary = "BINARY"
    /// RFC 3502
    case multiAppend = "MULTIAPPEND"
    /// RFC 4469
    case catenate = "CATENATE"
    /// RFC 8508
    case replace = "REPLACE"
    /// RFC 8970
    case preview = "PREVIEW"

    /// RFC 8474
    case objectID = "OBJECTID"
    /// RFC 8514
    case saveDate = "SAVEDATE"
    /// RFC 7162
    case condStore = "CONDSTORE"
    case qResync = "QRESYNC"

    /// When a capability is announced.
    package enum Phase: Sendable, Equatable {
        case always
        case beforeLogin
        case afterLogin
    }

    package var phase: Phase {
        switch self {
        case .imap4rev1, .imap4rev2, .literalPlus, .literalMinus, .id, .enable: .always
        case .saslIR, .startTLS, .loginDisabled: .beforeLogin
        case .idle, .namespace, .unselect, .uidPlus, .children, .move, .compress, .utf8, .uidOnly, .inProgress,
            .unauthenticate, .messageLimit, .i18nLevel1, .searchFuzzy,
            .listExtended, .listStatus, .specialUse, .createSpecialUse, .statusSize, .appendLimit, .quota,
            .quotaStorage, .acl, .rights, .listMyRights, .metadata, .metadataServer, .listMetadata, .eSearch,
            .searchRes, .within, .partial, .sort,
            .sortDisplay, .eSort, .threadOrderedSubject, .threadReferences,
            .threadRefs, .multiSearch, .binary, .multiAppend, .catenate, .replace, .preview, .objectID, .saveDate,
            .condStore, .qResync:
            .afterLogin
        }
    }

    /// By its name in any case.
    package init?(name: String) {
        guard let found = Self.allCases.first(where: { $0.rawValue.uppercased() == name.uppercased() }) else {
            return nil
        }
        self = found
    }
}
