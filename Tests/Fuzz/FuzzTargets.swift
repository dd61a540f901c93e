/// All targets. A new one is a file in `Targets/`, a line here, and inputs to begin with in `Tests/Fuzz/Corpus/NAME/`.
let fuzzTargets: [FuzzTarget] = [
    mimeStructureTarget,
    mimeHeaderTarget,
    dnsMessageTarget,
    dnsMasterFileTarget,
    smtpCommandTarget,
    imapCommandTarget,
    spfRecordTarget,
    dmarcRecordTarget,
    senderRewritingTarget,
    dmarcReportTarget,
    tlsReportTarget,
    mtaSTSTarget,
    dkimMessageTarget,
    dkimKeyTarget,
    arcMessageTarget,
    authenticationResultsTarget,
]
