# Obtains or revokes a certificate with ruby's acme-client. Settings come by the environment.
require 'acme-client'
require 'openssl'

dir = ENV.fetch('STATE')
key_file = File.join(dir, 'account.pem')
File.write(key_file, OpenSSL::PKey::RSA.new(2048).to_pem) unless File.exist?(key_file)
account = OpenSSL::PKey::RSA.new(File.read(key_file))
client = Acme::Client.new(private_key: account, directory: ENV.fetch('DIRECTORY'), connection_options: { ssl: { ca_file: ENV.fetch('CA_FILE') } })
chain_file = File.join(dir, 'chain.pem')

if ARGV[0] == 'revoke'
  client.revoke(certificate: OpenSSL::X509::Certificate.new(File.read(chain_file)))
  exit
end

client.new_account(contact: 'mailto:admin@corp.test', terms_of_service_agreed: true)
name = ENV.fetch('NAME')
order = client.new_order(identifiers: [name])
order.authorizations.each do |authorization|
  next if authorization.status == 'valid'

  challenge = authorization.http
  File.write(File.join(ENV.fetch('WEBROOT'), challenge.token), challenge.file_content)
  challenge.request_validation
  60.times do
    break unless challenge.status == 'pending' || challenge.status == 'processing'

    sleep 1
    challenge.reload
  end
  abort "challenge is #{challenge.status}: #{challenge.error}" unless challenge.status == 'valid'
end
csr = Acme::Client::CertificateRequest.new(private_key: OpenSSL::PKey::RSA.new(2048), subject: { common_name: name })
30.times do
  order.reload
  break if order.status == 'ready'

  sleep 1
end
order.finalize(csr: csr)
30.times do
  order.reload
  break if order.status == 'valid'

  sleep 1
end
File.write(chain_file, order.certificate)
